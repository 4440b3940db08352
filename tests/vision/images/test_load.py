"""Odd images that must work, and what becomes of their pixels."""

import io
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from visionbus.vision import ImageError, Input, Limits, load
from visionbus.vision.images import raw, shrink
from visionbus.vision.images.formats import header

RANDOM = np.random.default_rng(0)
GREY = Input(4, 6, "L")
COLOUR = Input(4, 6, "RGB")
RED, WHITE = [255, 0, 0], [255, 255, 255]


def encode(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def grey(height=4, width=6):
    return RANDOM.integers(0, 256, (height, width), dtype=np.uint8)


def coloured(height=4, width=6):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_pixels_come_through_lossless_formats_unchanged(form):
    pixels = grey()
    assert (load(encode(Image.fromarray(pixels), form), GREY)[..., 0] == pixels).all()


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WebP", {"lossless": True})])
def test_colour_pixels_come_through_lossless_formats_unchanged(form, options):
    pixels = coloured()
    assert (load(encode(Image.fromarray(pixels), form, **options), COLOUR) == pixels).all()


def test_result_is_uint8_of_the_input_s_shape():
    loaded = load(encode(Image.fromarray(grey(9, 5))), Input(7, 3, "RGB"))
    assert loaded.dtype == np.uint8
    assert loaded.shape == (7, 3, 3)


def test_colour_becomes_grey_and_grey_becomes_colour():
    assert (load(encode(Image.new("RGB", (6, 4), (255, 0, 0))), GREY) == 76).all()  # the luma of pure red, ITU-R 601
    assert (load(encode(Image.new("L", (6, 4), 99)), COLOUR) == 99).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode):
    image = Image.new(mode, (6, 4))  # black, and nothing to be seen of it
    assert (load(encode(image), COLOUR) == 255).all()
    half = Image.new(mode, (6, 4), (0, 0, 0, 128)[-len(mode) :])
    assert (load(encode(half), GREY) == 127).all()


def test_palette_with_transparency_is_laid_over_white():
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    loaded = load(encode(image, transparency=0), COLOUR)
    assert loaded[0, 0].tolist() == WHITE
    assert loaded[1, 1].tolist() == RED
    by_bytes = load(encode(image, transparency=bytes([0, 255])), COLOUR)
    assert (by_bytes == loaded).all()


def test_transparent_colour_without_alpha_is_laid_over_white():
    image = Image.new("RGB", (6, 4), (255, 0, 0))
    image.putpixel((0, 0), (0, 0, 255))
    loaded = load(encode(image, transparency=(0, 0, 255)), COLOUR)
    assert loaded[0, 0].tolist() == WHITE
    assert loaded[1, 1].tolist() == RED


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(form):
    values = np.array([[0, 127, 257, 32768, 65407, 65535]] * 4, dtype=np.uint16)
    assert load(encode(Image.fromarray(values), form), GREY)[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]


def test_big_endian_sixteen_bit_tiff_is_scaled():
    values = np.array([[0, 257, 32768, 65535]] * 4, dtype=">u2")
    image = Image.frombytes("I;16B", (4, 4), values.tobytes())
    assert load(encode(image, "TIFF"), Input(4, 4, "L"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_value_of_sixteen_bit_grey_becomes_white():
    values = np.full((4, 6), 1000, dtype=np.uint16)
    assert (load(encode(Image.fromarray(values), transparency=1000), GREY) == 255).all()


def test_one_bit_becomes_black_and_white():
    image = Image.new("1", (6, 4))
    image.putpixel((2, 1), 1)
    loaded = load(encode(image), GREY)
    assert loaded[1, 2, 0] == 255
    assert loaded.sum() == 255


def test_cmyk_jpeg_becomes_rgb():
    loaded = load(encode(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG", quality=95), COLOUR).astype(int)
    assert (abs(loaded - RED) < 12).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode):
    with pytest.raises(ImageError, match="convert it to 8 or 16 bits"):
        load(encode(Image.new(mode, (6, 4)), "TIFF"), GREY)


@pytest.mark.parametrize("form", ["GIF", "WebP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_with_a_warning(form, caplog):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    data = encode(
        frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WebP" else {})
    )
    with caplog.at_level(logging.WARNING):
        loaded = load(data, COLOUR)
    assert (loaded == RED).all()
    assert "first" in caplog.text


def test_pages_after_the_first_are_not_read(caplog):
    pages = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime")]
    data = bytearray(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    first = int.from_bytes(data[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[link : link + 4], "little")
    data[second : second + 2] = b"\0\0"  # a page without a size, which Pillow refuses
    with caplog.at_level(logging.WARNING):
        loaded = load(bytes(data), COLOUR)
    assert (loaded == RED).all()
    assert "first" in caplog.text


def test_single_picture_gives_no_warning(caplog):
    for form in ("GIF", "WebP", "PNG", "TIFF", "JPEG", "BMP"):
        load(encode(Image.new("RGB", (6, 4)), form), COLOUR)
    assert not caplog.records


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form, orientation):
    image = Image.fromarray(np.kron(coloured(3, 5), np.ones((16, 16, 1), dtype=np.uint8)))
    exif = Image.Exif()
    exif[274] = orientation
    data = encode(image, form, exif=exif, **({"quality": 95} if form in {"JPEG", "WebP"} else {}))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert (load(data, Input(expected.height, expected.width)) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    "record", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0" + b"\xff" * 64]
)
def test_damaged_exif_record_leaves_the_picture_as_it_lies(record):
    data = encode(Image.new("RGB", (6, 4), "red"), "JPEG", exif=record, quality=95)
    assert load(data, COLOUR).shape == (4, 6, 3)


def test_stretch_shows_all_crop_the_middle_and_pad_all_within_black():
    image = Image.new("L", (12, 4), 100)
    image.paste(200, (4, 0, 8, 4))
    data = encode(image)
    stretched, cropped, padded = (
        load(data, Input(4, 4, "L", fit, "nearest"))[..., 0] for fit in ("stretch", "crop", "pad")
    )
    assert set(stretched.ravel().tolist()) == {100, 200}
    assert (cropped == 200).all()
    assert padded[1].tolist()[0] == 100
    assert (padded[[0, 3]] == 0).all()


SIDES = st.integers(1, 70)


@settings(max_examples=200)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["stretch", "crop", "pad"]), st.sampled_from(["box", "lanczos"]))
def test_picture_of_any_size_fits_any_input(height, width, to_height, to_width, fit, filtering):
    spec = Input(to_height, to_width, "L", fit, filtering)
    loaded = load(encode(Image.new("L", (width, height), 100), "BMP"), spec)
    assert loaded.shape == spec.shape
    assert set(loaded.ravel().tolist()) <= ({0, 100} if fit == "pad" else {100})


def test_large_picture_of_one_colour_stays_it():
    data = encode(Image.new("RGB", (1600, 1200), (255, 0, 0)), "JPEG", quality=95)
    for fit in ("stretch", "crop"):
        assert (abs(load(data, Input(28, 28, "RGB", fit)).astype(int) - RED) < 6).all()


def test_raw_pixels_of_the_model_s_shape_are_taken_as_they_are():
    pixels = coloured()
    assert (raw(pixels.tobytes(), "4,6,3", COLOUR) == pixels).all()


@pytest.mark.parametrize("shape", ["6,4,3", "4,6,1", "4,6", "", "4,6,3,1", "a,b,c", "4;6;3", "-4,-6,3", "9" * 5000])
def test_raw_pixels_of_another_shape_are_refused(shape):
    with pytest.raises(ImageError, match="the model wants 4,6,3"):
        raw(bytes(72), shape, COLOUR)


@pytest.mark.parametrize("size", [0, 71, 73])
def test_raw_pixels_of_another_length_than_their_shape_are_refused(size):
    with pytest.raises(ImageError, match="are 72 bytes"):
        raw(bytes(size), "4,6,3", COLOUR)


def test_shrunk_picture_is_a_jpeg_of_at_most_2048_pixels_upright():
    exif = Image.Exif()
    exif[274] = 6
    data = encode(Image.new("RGB", (4000, 1000), "red"), "JPEG", exif=exif)
    small = Image.open(io.BytesIO(shrink(data)))
    assert small.format == "JPEG"
    assert small.size == (512, 2048)
    assert not small.getexif()


def test_shrunk_grey_stays_grey_and_small_pictures_keep_their_size():
    small = Image.open(io.BytesIO(shrink(encode(Image.fromarray(grey(30, 20))))))
    assert (small.mode, small.size) == ("L", (20, 30))


def test_header_tells_size_and_greyness_without_decoding():
    assert header(encode(Image.new("L", (6, 4)))) == (4, 6, True)
    assert header(encode(Image.new("RGB", (6, 4)), "JPEG")) == (4, 6, False)


def test_limits_are_of_bytes_and_of_pixels():
    data = encode(Image.fromarray(grey(30, 20)))
    with pytest.raises(ImageError, match="more than 10: use a smaller image"):
        load(data, GREY, limits=Limits(size=10))
    with pytest.raises(ImageError, match="20 x 30 pixels, more than 599: use a smaller image"):
        load(data, GREY, limits=Limits(pixels=599))
    with pytest.raises(ImageError, match="20 x 30 pixels, more than 29 on a side: cut it into parts"):
        load(data, GREY, limits=Limits(side=29))
    load(data, GREY, limits=Limits(size=len(data), pixels=600, side=30))
    with pytest.raises(ValueError, match="at most"):
        Limits(pixels=10**9)
    with pytest.raises(ValueError, match="at least 1"):
        Limits(side=0)


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mp42", b"qt  "])
def test_phone_photographs_and_videos_are_told_as_such(brand):
    with pytest.raises(ImageError, match="HEIC or AVIF image, or a video: convert"):
        load(b"\0\0\0\x18ftyp" + brand + b"\0" * 20, Input(8, 8, "L"))
