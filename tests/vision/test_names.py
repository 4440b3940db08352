import pytest

from visionbus.vision.names import is_name


@pytest.mark.parametrize("name", ["a", " ", "T-shirt/top", "ünï \N{BIRD}"])
def test_text_is_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "half a pair \ud800", "not UTF-8 \udcff", 3, None, b"a"])
def test_what_cannot_be_sent_as_text_is_no_name(name):
    assert not is_name(name)
