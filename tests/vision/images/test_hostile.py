"""Whatever the bytes: an array of the right shape, or an ImageError that names the cure."""

import io
import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from visionbus.vision import ImageError, Input, load
from visionbus.vision.images import shrink

SPEC = Input(16, 16)
FORMATS = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF")
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encode(form, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


WHOLE = {form: encode(form) for form in FORMATS} | {
    "progressive JPEG": encode("JPEG", progressive=True),
    "lossless WebP": encode("WebP", lossless=True),
    "deflated TIFF": encode("TIFF", compression="tiff_adobe_deflate"),
    "interlaced GIF": encode("GIF", interlace=True),
}


def outcome(data):
    """Load; an ImageError is an outcome, all else would fail the test."""
    try:
        loaded = load(data, SPEC)
    except ImageError:
        return None
    assert loaded.shape == SPEC.shape
    return loaded


@pytest.mark.parametrize("name", WHOLE)
def test_truncated_image_is_refused_wherever_it_is_cut(name):
    whole = WHOLE[name]
    assert outcome(whole) is not None
    cuts = [*range(0, len(whole), max(len(whole) // 150, 1)), *range(len(whole) - 12, len(whole))]
    assert [cut for cut in cuts if outcome(whole[:cut]) is not None] == []


def test_no_bytes_are_refused():
    with pytest.raises(ImageError, match="empty: use an image file"):
        load(b"", SPEC)


@pytest.mark.parametrize(
    "data", [b"hello", b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 1000, b"P5 2 2 255 abcd"]
)
def test_what_is_no_allowed_format_is_refused_with_the_list_of_those(data):
    with pytest.raises(ImageError, match="known: PNG, JPEG, WebP, GIF, BMP, TIFF"):
        load(data, SPEC)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, rows):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_size(form, width, height):
    """Let the header claim another size."""
    data = bytearray(WHOLE[form])
    if form == "PNG":
        return png(width, height, zlib.compress(b""))
    if form == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    elif form == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif form == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif form == "WebP":
        at = data.index(b"\x9d\x01\x2a") + 3
        data[at : at + 4] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
    else:
        for tag, value in ((256, width), (257, height)):
            at = data.index(struct.pack("<HHI", tag, 4, 1))
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize("form", FORMATS)
def test_huge_dimensions_are_refused_before_memory_is_taken(form):
    data = with_size(form, 60_000, 60_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"more than|damaged"):
            load(data, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(1, 2**26), (2**26, 1), (65_536, 1)])
def test_picture_like_a_thread_is_refused_before_memory_is_taken(size):
    data = png(*size, zlib.compress(b""))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="more than 65535 on a side: cut it into parts"):
            load(data, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(0, 0), (0, 16), (16, 0), (2**31, 2**31), (1, 2**32 - 1)])
def test_impossible_dimensions_are_refused(size):
    assert outcome(png(*size, zlib.compress(b""))) is None


def test_bomb_that_unpacks_to_far_more_than_its_pixels_is_harmless():
    bomb = png(16, 16, zlib.compress(bytes(50_000_000), 9))
    tracemalloc.start()
    outcome(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_compressed_text_that_unpacks_to_much_is_refused_or_ignored():
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))
    whole = WHOLE["PNG"]
    outcome(whole[:33] + text + whole[33:])


@settings(max_examples=150)
@given(st.sampled_from([b"", *(whole[:4] for whole in WHOLE.values()), WHOLE["WebP"][:16]]), st.binary(max_size=300))
def test_random_bytes_are_refused_or_decoded(start, data):
    outcome(start + data)


@settings(max_examples=300)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damaged_image_is_refused_or_decoded(name, data):
    whole = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(whole), 400) - 1) | st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    outcome(bytes(whole))


@settings(max_examples=50)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_damaged_image_is_refused_or_shrunk(name, place, junk):
    whole = WHOLE[name]
    try:
        shrunk = shrink(whole[:place] + junk + whole[place + len(junk) :])
    except ImageError:
        return
    assert shrunk.startswith(b"\xff\xd8")


DAMAGED_EXIF = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 40


@pytest.mark.parametrize("before", [b"", b"\xff\xed\0\x08\xff\xda\0\x03\0\0", b"\xff\xd0", b"\xff\xd0junk"])
def test_damaged_exif_gives_no_warning_whatever_stands_before_it(before):
    """Nothing, a segment that seems to have a scan in it, a marker that belongs elsewhere, that with other bytes."""
    jpeg = encode("JPEG", exif=DAMAGED_EXIF)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        loaded = load(jpeg[:2] + before + jpeg[2:], SPEC)
    assert seen == []
    assert (loaded == load(WHOLE["JPEG"], SPEC)).all()


def test_jpeg_without_its_end_is_refused_though_its_thumbnail_has_one():
    thumbnail = b"Exif\0\0" + WHOLE["JPEG"]
    whole = encode("JPEG", exif=thumbnail)
    assert outcome(whole) is not None
    with pytest.raises(ImageError, match="the JPEG file is truncated: use the complete file"):
        load(whole[:-2], SPEC)


def test_jpeg_with_something_behind_its_end_is_taken():
    assert (outcome(WHOLE["JPEG"] + b"\0" * 100) == outcome(WHOLE["JPEG"])).all()
    assert (outcome(WHOLE["JPEG"] + WHOLE["progressive JPEG"]) == outcome(WHOLE["JPEG"])).all()


def test_warnings_of_the_decoder_stay_in_from_several_threads_at_once():
    noisy = [
        encode("JPEG", exif=DAMAGED_EXIF),
        with_size("GIF", 9000, 9000),
        WHOLE["TIFF"],
        WHOLE["deflated TIFF"],
    ]
    before = list(warnings.filters)
    seen = []

    def work():
        for data in noisy * 20:
            try:
                outcome(data)
            except Exception as error:  # noqa: BLE001 (whatever it is, the test shows it)
                seen.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == []
    assert list(warnings.filters) == before
