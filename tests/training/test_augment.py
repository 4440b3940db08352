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


def smooth(height=40, width=40):
    """Eight equal images that brighten from the left to the right, and no change from top to bottom."""
    ramp = torch.linspace(40, 215, width).round().to(torch.uint8)
    return ramp[None, None, :, None].expand(8, height, width, 1).contiguous()


def slopes(images):
    """How much brighter each image gets by a pixel to the right, in its middle; and by one downwards."""
    middle = images[:, 10:30, 10:30, 0].float()
    return middle.diff(dim=2).mean(dim=(1, 2)), middle.diff(dim=1).mean(dim=(1, 2))


def test_zoom_shows_a_part_at_the_size_of_the_whole():
    images = smooth()
    zoomed = Augment(flip=False, zoom=0.25)(images, generator())
    assert zoomed.shape == images.shape
    assert zoomed.dtype == torch.uint8
    right, down = slopes(zoomed)
    whole = slopes(images)[0]
    shares = (right / whole) ** 2  # of the area: a part of it is seen larger, and so brightens more slowly
    assert (shares > 0.2).all()
    assert (shares < 1.02).all()
    assert shares.min() < 0.6 < shares.max()
    assert down.abs().max() < 0.05
    assert zoomed.min() >= images.min()
    assert zoomed.max() <= images.max()


def test_turn_rotates_by_at_most_so_many_degrees_either_way():
    right, down = slopes(Augment(flip=False, turn=30)(smooth(), generator()))
    angles = torch.rad2deg(torch.atan2(down, right))
    assert (angles.abs() < 31).all()
    assert angles.min() < -5
    assert angles.max() > 5
    assert torch.allclose(torch.hypot(right, down), slopes(smooth())[0], rtol=0.03)  # nothing is stretched


def test_turn_keeps_the_shape_of_what_is_seen_in_an_image_that_is_not_square():
    right, down = slopes(Augment(flip=False, turn=30)(smooth(height=40, width=80), generator()))
    assert torch.allclose(torch.hypot(right, down), slopes(smooth(width=80))[0], rtol=0.03)


def test_colour_changes_each_image_and_keeps_its_channels_apart():
    grey = torch.full((8, 4, 4, 3), 100, dtype=torch.uint8)
    changed = Augment(flip=False, colour=0.2)(grey, generator())
    assert (changed == changed[..., :1]).all()  # grey has no saturation that could change
    values = changed[:, 0, 0, 0]
    assert ((values >= 80) & (values <= 120)).all()
    assert len(values.unique()) > 4


def test_colour_does_not_wrap_around_where_it_is_brightest():
    white = torch.full((8, 4, 4, 1), 255, dtype=torch.uint8)
    assert (Augment(flip=False, colour=0.5)(white, generator()) > 120).all()


def test_same_random_state_gives_the_same_changes():
    augment = Augment(shift=2, zoom=0.5, turn=10, colour=0.2)
    assert (augment(IMAGES, generator(1)) == augment(IMAGES, generator(1))).all()
    assert (augment(IMAGES, generator(1)) != augment(IMAGES, generator(2))).any()


def test_negative_shift_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Augment(shift=-1)
