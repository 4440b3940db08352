import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging import Message
from visionbus.messaging.message import received_message
from visionbus.service import wire
from visionbus.service.wire import Answer, WireError, read_request, request

text = st.text(st.characters(exclude_categories=["Cs"]))
ids = text.filter(lambda name: 0 < len(name.encode()) <= 1024)
seconds = st.floats(0, 4e9)
probabilities = st.lists(st.tuples(text, st.floats(0, 1, width=32)), min_size=1, max_size=12).map(tuple)


@st.composite
def answers(draw):
    error = draw(st.none() | text)
    pairs = () if error is not None else draw(probabilities)
    return Answer(
        draw(ids),
        pairs[0][0] if pairs else None,
        pairs,
        draw(text),
        draw(text.filter(lambda version: len(version.encode()) < 100)),
        draw(seconds),
        draw(seconds),
        draw(seconds),
        error,
        draw(st.none() | st.just("run-1")),
    )


def plain_answer(**changes):
    values = {
        "id": "run/1",
        "label": "cat",
        "probabilities": (("cat", 0.75), ("dog", 0.25)),
        "model": "pets",
        "version": "0123456789ab",
        "published": 1.0,
        "received": 2.0,
        "done": 3.0,
    }
    return Answer(**(values | changes))


@given(ids, st.binary(), st.none() | st.just((2, 3, 1)), st.none() | st.just("shoes"))
def test_request_comes_out_as_it_went_in(name, data, shape, model):
    got = read_request(request(name, data, run="run-1", shape=shape, model=model))
    assert (got.id, got.data, got.model, got.run) == (name, data, model, "run-1")
    assert got.shape == (None if shape is None else "2,3,1")


def test_request_is_a_cloud_event_in_binary_mode():
    message = request("run-1/a.png", b"\x89PNG\r\n\x1a\n...", run="run-1")
    time = message.attributes["ce-time"]
    assert message.attributes == {
        "ce-specversion": "1.0",
        "ce-id": "run-1/a.png",
        "ce-type": "visionbus.image.v1",
        "ce-source": "/visionbus/runs/run-1",
        "ce-time": time,
        "ce-correlationid": "run-1",
        "content-type": "image/png",
    }
    assert message.key is None


def test_raw_pixels_carry_their_shape():
    attributes = request("1", b"123456", run="r", shape=(1, 2, 3)).attributes
    assert attributes["content-type"] == "application/vnd.visionbus.u8"
    assert attributes["shape"] == "1,2,3"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "no attribute ce-id"),
        ({"ce-id": ""}, "no attribute ce-id"),
        ({"ce-id": "ü" * 513}, "over 1024 bytes"),
        ({"ce-id": "bytes \udcff"}, "is not UTF-8"),
        ({"ce-id": "1", "ce-type": "other.v1"}, "ce-type is 'other.v1'"),
    ],
)
def test_message_without_a_usable_id_or_of_another_type_is_no_request(attributes, reason):
    with pytest.raises(WireError, match=reason):
        read_request(received_message(b"", None, attributes))


def test_request_sent_by_hand_needs_nothing_but_an_id():
    got = read_request(Message(b"file", None, {"ce-id": "mine"}))
    assert (got.id, got.shape, got.model, got.run) == ("mine", None, None, None)


def test_shape_of_an_image_file_is_ignored():
    assert read_request(Message(b"file", None, {"ce-id": "mine", "shape": "1,1,1"})).shape is None


@pytest.mark.parametrize("run", ["r" * 101, "r" * 2000, "half \udcff", "ü", "", "/other/program"])
def test_run_that_an_answer_could_not_carry_is_none(run):
    attributes = {"ce-id": "mine", "ce-correlationid": run}
    assert read_request(received_message(b"file", None, attributes)).run is None
    message = plain_answer().to_message()
    assert Answer.from_message(received_message(message.data, None, {**message.attributes, **attributes})).run is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "run/a.png"),
        ("a b/ü.png", "run/a%20b/%C3%BC.png"),
        (b"not-utf8-\xff", "run/not-utf8-%FF"),
        ("x" * 1020, "run/" + "x" * 1020),
        ("x" * 1021, "run/" + sha256(b"run/" + b"x" * 1021).hexdigest()),
    ],
)
def test_id_is_the_run_and_the_encoded_name_or_its_hash(name, expected):
    assert wire.request_id("run", name) == expected


@pytest.mark.parametrize("run", ["", "a/b", "a b", "-a", "x" * 101])
def test_run_that_cannot_begin_an_id_is_refused(run):
    with pytest.raises(ValueError, match="1 to 100 letters"):
        wire.check_run(run)


@given(answers())
def test_answer_comes_out_as_it_went_in_to_seven_digits(answer):
    got = Answer.from_message(answer.to_message())
    rounded = tuple((label, round(p, 7)) for label, p in answer.probabilities)
    assert got == Answer(**({name: getattr(answer, name) for name in Answer.__slots__} | {"probabilities": rounded}))


@given(answers())
def test_answer_is_the_json_that_is_documented(answer):
    assert json.loads(answer.to_message().data) == {
        "id": answer.id,
        "label": answer.label,
        "probabilities": [[label, round(p, 7)] for label, p in answer.probabilities],
        "model": {"name": answer.model, "version": answer.version},
        "timings": {"published": answer.published, "received": answer.received, "done": answer.done},
        "error": answer.error,
    }


def test_same_request_and_version_give_the_same_answer_id():
    message = plain_answer().to_message()
    assert message.attributes["ce-id"] == "run/1/0123456789ab"
    assert plain_answer(done=9.0).to_message().attributes["ce-id"] == "run/1/0123456789ab"
    assert plain_answer(version="b").to_message().attributes["ce-id"] == "run/1/b"


@pytest.mark.parametrize("name", ["x" * 1024, "ü" * 512])
def test_answer_id_over_the_limit_is_a_hash(name):
    message = plain_answer(id=name).to_message()
    assert message.attributes["ce-id"] == sha256(f"{name}/0123456789ab".encode()).hexdigest()
    assert Answer.from_message(message).id == name


def test_answer_keeps_the_thousand_most_probable_classes():
    many = tuple((str(number), 0.0005) for number in range(2000))
    assert len(Answer.from_message(plain_answer(probabilities=many, label="0").to_message()).probabilities) == 1000


@pytest.mark.parametrize(
    ("attributes", "data"),
    [
        ({}, b"{}"),
        ({"ce-type": wire.ANSWER_TYPE}, b"no json"),
        ({"ce-type": wire.ANSWER_TYPE}, b"[]"),
        ({"ce-type": wire.ANSWER_TYPE}, b"{}"),
        ({"ce-type": wire.ANSWER_TYPE}, b"\xff"),
        ({"ce-type": wire.ANSWER_TYPE}, b"[" * 100_000),
        ({"ce-type": wire.ANSWER_TYPE}, plain_answer(label=None, error=None).to_message().data),
        ({"ce-type": wire.ANSWER_TYPE}, plain_answer().to_message().data.replace(b'"run/1"', b"17")),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(attributes, data):
    with pytest.raises(WireError):
        Answer.from_message(received_message(data, None, attributes))


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b'"run/1"', b'"\\ud800"'),
        (b'"cat"', b'"\\ud800"'),
        (b'"pets"', b'"\\udc80"'),
        (b'"0123456789ab"', b'"\\udc80"'),
        (b'"published":1.0', b'"published":NaN'),
        (b'"received":2.0', b'"received":Infinity'),
        (b'"done":3.0', b'"done":-Infinity'),
        (b'"done":3.0', b'"done":"NaN"'),
        (b'"published":1.0', b'"published":1' + b"0" * 400),
        (b"0.75", b"NaN"),
        (b"0.75", b"1" + b"0" * 400),
    ],
)
def test_answer_that_no_store_takes_is_none(found, put):
    data = plain_answer().to_message().data
    assert found in data
    with pytest.raises(WireError, match="not the JSON of an answer"):
        Answer.from_message(received_message(data.replace(found, put), None, {"ce-type": wire.ANSWER_TYPE}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | text, lambda inner: st.lists(inner) | st.dictionaries(text, inner)
    )
)
def test_no_json_breaks_the_reader(value):
    message = received_message(json.dumps(value).encode(), None, {"ce-type": wire.ANSWER_TYPE})
    with pytest.raises(WireError):
        Answer.from_message(message)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF1234WEBP", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"BM", "image/bmp"),
        (b"MM\x00*", "image/tiff"),
        (b"", "application/octet-stream"),
    ],
)
def test_media_type_is_told_by_the_first_bytes(start, kind):
    assert wire.content_type(start) == kind
