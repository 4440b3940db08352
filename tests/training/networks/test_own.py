import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 (torch may be missing)

from visionbus.training.networks import Pixels, check  # noqa: E402 (the same)
from visionbus.vision import Input  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

SPEC = Input(8, 10)


class Own(nn.Module):
    """Takes pixels as they are; returns what `change` makes of the logits of four classes."""

    def __init__(self, change=lambda logits: logits):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 4)
        self.change = change

    def forward(self, images):
        return self.change(self.head(self.norm(images.float().mean(dim=(1, 2)))))


def test_network_from_pixels_to_logits_passes_and_stays_as_it_was():
    network = Own()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check(network, SPEC, 4)
    assert all((before[name] == value).all() for name, value in network.state_dict().items())
    assert network.training
    assert not network.norm.training


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, not str"):
        check("resnet18", SPEC, 4)


def test_network_that_cannot_learn_is_refused():
    with pytest.raises(ValueError, match="nothing in the network can learn"):
        check(nn.Identity(), SPEC, 4)


def test_network_that_takes_floats_is_told_of_the_wrapper_that_cures_it():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(TypeError, match=r"becomes one that takes pixels by visionbus\.training\.Pixels"):
        check(network, SPEC, 4)
    check(Pixels(network, mean=(0, 0, 0), deviation=(1, 1, 1)), SPEC, 4)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda logits: logits[:, :3], ValueError, r"shape \[n, 4\].* it returns \[2, 3\]"),
        (lambda logits: logits[0], ValueError, r"it returns \[4\]"),
        (lambda logits: logits[:2], ValueError, r"for 3 images it returns \[2, 4\]"),
        (lambda logits: logits.argmax(dim=1), TypeError, r"a float tensor \[n, class\], not torch.int64"),
        (lambda logits: {"logits": logits}, TypeError, r"not dict"),
    ],
)
def test_network_that_returns_something_else_is_refused(change, error, says):
    with pytest.raises(error, match=says):
        check(Own(change), SPEC, 4)
