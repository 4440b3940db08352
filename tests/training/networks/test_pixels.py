import pytest

torch = pytest.importorskip("torch")

from visionbus.training.networks import Pixels  # noqa: E402 (torch may be missing)

pytestmark = pytest.mark.slow  # torch takes seconds to import


def test_network_of_one_s_own_gets_normalised_floats_with_channels_first():
    seen = []

    class Mean(torch.nn.Module):
        def forward(self, pixels):
            seen.append(pixels)
            return pixels.mean(dim=(2, 3))

    images = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(2, 4, 5, 3)
    logits = Pixels(Mean(), mean=(10, 10, 10), deviation=(1, 2, 4))(images)
    assert seen[0].shape == (2, 3, 4, 5)
    assert logits.tolist() == [[0, 5, 5]] * 2
