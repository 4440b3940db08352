import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.vision import Input

INPUTS = st.builds(
    Input,
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.sampled_from(["L", "RGB"]),
    st.sampled_from(["stretch", "crop", "pad"]),
    st.sampled_from(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
)


@given(INPUTS)
def test_input_survives_json(spec):
    assert Input.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_shape_is_height_width_channels():
    assert Input(4, 6, "L").shape == (4, 6, 1)
    assert Input(4, 6).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"height": 0}, "height must be a whole number from 1 to 4096, not 0"),
        ({"width": 4097}, "width must be"),
        ({"width": 2.0}, "width must be"),
        ({"height": True}, "height must be"),
        ({"mode": "CMYK"}, "unknown mode 'CMYK'; known: L, RGB"),
        ({"fit": "squeeze"}, "unknown fit"),
        ({"filter": "sharp"}, "unknown filter"),
        ({"filter": ["box"]}, "unknown filter"),
    ],
)
def test_values_out_of_range_are_refused_from_python_and_from_json(change, reason):
    whole = Input(4, 6).to_json()
    with pytest.raises(ValueError, match=reason):
        Input(**(whole | change))
    with pytest.raises(ValueError, match=reason):
        Input.from_json(whole | change)


@pytest.mark.parametrize("value", [None, 3, [], "x", {}, {"height": 4}, Input(4, 6).to_json() | {"more": 1}])
def test_json_that_is_no_input_is_refused(value):
    with pytest.raises(ValueError, match="must have exactly the keys"):
        Input.from_json(value)
