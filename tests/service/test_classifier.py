import numpy as np
import pytest
from fake_models import FAILING, Brightness

from visionbus.service import classifier as module
from visionbus.service.classifier import Classifier
from visionbus.service.wire import Answer, Request

DARK, BRIGHT = bytes([0, 0, 0, 0]), bytes([0, 0, 0, 255])


def pixels(data, name="1", shape="2,2,1", model=None):
    return Request(name, data, shape, model, "run")


def answers(*requests, model=None, received=2.0):
    return Classifier(model or Brightness()).answer(requests, [1.0] * len(requests), received)


def labels(*requests, **options):
    return [answer.label or answer.error for answer in answers(*requests, **options)]


def test_each_request_has_its_answer_in_order(png):
    file = Request("2", png([[0, 0], [0, 128]]), None, None, None)
    assert labels(pixels(DARK), file, pixels(BRIGHT)) == ["dark", "grey", "bright"]


def test_probabilities_are_sorted_and_sum_to_one():
    (answer,) = answers(pixels(BRIGHT))
    assert answer.probabilities[0][0] == answer.label == "bright"
    assert [p for _, p in answer.probabilities] == sorted((p for _, p in answer.probabilities), reverse=True)
    assert sum(p for _, p in answer.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("data", "shape", "reason"),
    [
        (b"", None, ""),
        (b"no image", None, ""),
        (b"\x89PNG\r\n\x1a\n truncated", None, ""),
        (bytes(9), "3,3,1", "the model wants 2,2,1"),
        (bytes(3), "2,2,1", "4 bytes, not 3"),
        (bytes(4), "", "the model wants"),
        (bytes(4), "x,y", "the model wants"),
    ],
)
def test_bad_image_gets_an_error_answer_and_its_neighbours_are_answered(data, shape, reason):
    first, bad, last = answers(pixels(DARK), Request("bad", data, shape, None, None), pixels(BRIGHT))
    assert (first.label, last.label) == ("dark", "bright")
    assert bad.label is None
    assert bad.probabilities == ()
    assert reason in bad.error


def test_decoder_that_fails_in_an_unforeseen_way_costs_one_answer(monkeypatch, png):
    def load(*_):
        raise ZeroDivisionError("by a bug")

    monkeypatch.setattr(module, "load", load)
    assert labels(pixels(DARK), Request("2", b"file", None, None, None)) == [
        "dark",
        "the image cannot be read: ZeroDivisionError: by a bug",
    ]


def test_batch_on_which_the_model_fails_is_split_until_the_culprit_is_found():
    said = labels(*[pixels(DARK)] * 6, pixels(bytes([FAILING, 0, 0, 0])), *[pixels(BRIGHT)] * 6)
    assert said == ["dark"] * 6 + ["the model failed: RuntimeError: this one is too much"] + ["bright"] * 6


def test_reason_can_be_stored_whatever_text_an_error_has():
    class Muttering(Brightness):
        def logits(self, batch):
            raise RuntimeError("half \udcff" * 1000)

    (answer,) = answers(pixels(DARK), model=Muttering())
    assert answer.error.startswith("the model failed: RuntimeError: half ?half ?")
    assert len(answer.error) == 500
    assert Answer.from_message(answer.to_message()) == answer


def test_logits_that_are_not_finite_are_an_error():
    class Wild(Brightness):
        def logits(self, batch):
            logits = super().logits(batch)
            logits[batch[:, 1, 1, 0] == 0] = np.nan
            return logits

    with np.errstate(all="ignore"):
        said = labels(pixels(BRIGHT), pixels(DARK), model=Wild())
    assert said == ["bright", "the model failed: its logits are not finite"]


def test_logits_of_a_wrong_shape_are_an_error():
    class Short(Brightness):
        def logits(self, batch):
            return super().logits(batch)[:, :2]

    (said,) = labels(pixels(DARK), model=Short())
    assert "shape (1, 2), not (1, 3)" in said


def test_request_for_another_model_gets_an_error_answer():
    assert labels(pixels(DARK, model="brightness"))[0] == "dark"
    (said,) = labels(pixels(DARK, model="shoes"))
    assert "'shoes' is not served here: this worker has 'brightness'" in said


def test_clock_that_steps_back_does_not_show(monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 50.0)  # done
    (answer,) = Classifier(Brightness()).answer([pixels(DARK)], [200.0], received=100.0)
    assert answer.published <= answer.received <= answer.done


def test_warming_up_tells_the_time_an_image_takes():
    assert 0 <= Classifier(Brightness()).warm_up(8) < 1
