import numpy as np
import pytest

torch = pytest.importorskip("torch")

from visionbus.training.augment import Augment  # noqa: E402 (torch may be missing)

pytestmark = pytest.mark.slow  # torch takes seconds to import

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (400, 5, 6, 3), dtype=np.uint8))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_is_nothing_changed():
    assert Augment(flip=False)(IMAGES, generator()) is IMAGES


def test_about_half_are_flipped_and_the_others_left():
    flipped = Augment()(IMAGES, generator())
    same = (flipped == IMAGES).flatten(1).all(1)
    mirrored = (flipped == IMAGES.flip(2)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_shift_moves_each_image_by_its_own_offset_and_repeats_the_edge():
    shifted = Augment(flip=False, shift=1)(IMAGES, generator()).numpy()
    seen = set()
    for image, moved in zip(IMAGES.numpy(), shifted, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        fits = [(r, c) for r in range(3) for c in range(3) if (padded[r : r + 5, c : c + 6] == moved).all()]
        assert fits
        seen.update(fits)
    assert len(seen) == 9


def test_same_random_state_gives_the_same_changes():
    augment = Augment(shift=2)
    assert (augment(IMAGES, generator(1)) == augment(IMAGES, generator(1))).all()
    assert (augment(IMAGES, generator(1)) != augment(IMAGES, generator(2))).any()


def test_negative_shift_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Augment(shift=-1)
