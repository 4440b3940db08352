"""What the report computes: mistakes, suspects, confusions, ticks, percentages."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.vision.card import temperature
from visionbus.vision.report.charts import epoch_chart, ticks
from visionbus.vision.report.history import Curve, curves
from visionbus.vision.report.mistakes import suspect_labels, worst_confusions, worst_mistakes
from visionbus.vision.report.thumbnails import Thumbnails
from visionbus.vision.report.trust import sure_answers
from visionbus.vision.text import percent, plain, shortened

SURE = np.array([[0.9, 0.1], [0.2, 0.8], [0.03, 0.97], [0.4, 0.6], [0.99, 0.01]], dtype=np.float32)


def test_worst_mistakes_are_the_surest_ones():
    assert worst_mistakes(SURE, np.array([0, 0, 0, 0, 0])).tolist() == [2, 1, 3]


def test_suspect_is_a_label_below_five_percent_where_another_class_is_as_likely_as_usual():
    labels = np.array([0, 1, 0, 1, 1])
    assert suspect_labels(SURE, labels).tolist() == [4, 2]
    assert suspect_labels(SURE, np.array([0, 1, 1, 1, 0])).tolist() == []


def test_wrong_answer_that_is_less_sure_than_usual_makes_no_label_suspect():
    probabilities = np.array([[0.999, 0.0005, 0.0005], [0.6, 0.01, 0.39]], dtype=np.float32)
    assert suspect_labels(probabilities, np.array([0, 1])).tolist() == []


def test_labels_changed_at_random_are_found():
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 2000)
    logits = random.normal(0, 1, (2000, 5)).astype(np.float32)
    logits[np.arange(2000), truth] += 7
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    changed = random.choice(2000, 40, replace=False)
    labels = truth.copy()
    labels[changed] = (labels[changed] + 1) % 5
    found = set(suspect_labels(probabilities, labels).tolist())
    assert len(found & set(changed.tolist())) >= 25
    assert len(found - set(changed.tolist())) <= 5


def test_commonest_confusions_come_first_with_their_share_of_the_class():
    found = worst_confusions([[8, 2, 0], [5, 0, 5], [0, 1, 9]], 3)
    assert [(one.label, one.predicted, one.images, one.share) for one in found] == [
        (1, 0, 5, 0.5),
        (1, 2, 5, 0.5),
        (0, 1, 2, 0.2),
    ]
    assert worst_confusions([[3, 0], [0, 3]], 3) == []


def test_answers_taken_from_a_probability_on_are_fewer_and_better():
    found = sure_answers(SURE, np.array([0, 1, 0, 0, 0]))
    assert [(one.least, one.share, one.right) for one in found[:3]] == [
        (0.5, 1.0, pytest.approx(0.6)),
        (0.8, 0.8, pytest.approx(0.75)),
        (0.9, pytest.approx(0.6), pytest.approx(2 / 3)),
    ]
    assert sure_answers(np.array([[0.5, 0.5]], np.float32), np.array([0]))[-1].right is None


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 10))
def test_ticks_are_round_rising_and_reach_around_what_is_drawn(low, span, most):
    found = ticks(low, low + span, most=most)
    slack = 1e-6 * max(abs(low), span, 1)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack
    steps = np.diff(found)
    assert (steps > 0).all()
    assert 2 <= len(found) <= most + 3
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
    assert min(abs(mantissa - one) for one in (1, 2, 5, 10)) < 0.01


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(0, 50)), min_size=1, max_size=20))
def test_points_of_a_curve_stand_within_the_chart(points):
    chart = epoch_chart("Loss", [Curve("final", held_out=False, points=tuple(points))], share=False)
    for pair in chart.lines[0].points.split():
        across, up = map(float, pair.split(","))
        assert 46 <= across <= 446
        assert 12 <= up <= 220


def test_no_curves_make_no_chart():
    assert epoch_chart("Loss", [], share=False) is None


def test_entries_of_a_history_that_make_no_sense_are_left_out():
    good = {"fit": "final", "epoch": 2, "loss": 0.5}
    bad = [{**good, "epoch": math.nan}, {**good, "loss": math.inf}, {**good, "loss": "x"}, {**good, "fit": []}, 7]
    assert curves({"history": [*bad, good]}, "loss") == [Curve("final", held_out=False, points=((2, 0.5),))]


@pytest.mark.parametrize("figures", [{}, {"validation": None}, {"validation": {"temperature": -1}}, {"validation": []}])
def test_temperature_that_the_file_does_not_tell_is_unknown(figures):
    assert temperature(figures) is None


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.9996, ">99.9 %"), (0.0001, "<0.1 %"), (0.9336, "93.4 %"), (0.9994, "99.9 %")],
)
def test_all_and_nothing_are_said_of_these_alone(share, said):
    assert percent(share) == said


@given(st.text())
def test_plain_text_can_be_seen_and_written(text):
    shown = plain(text)
    shown.encode()
    assert all(letter.isprintable() or letter in "\u200c\u200d" for letter in shown)
    assert plain(shown) == shown
    assert len(shortened(shown)) <= 60


def test_small_pictures_are_kept_without_loss_and_large_ones_shrunk():
    small, large = np.zeros((28, 28, 1), np.uint8), np.zeros((300, 200, 3), np.uint8)
    assert Thumbnails().uri(small, 96).startswith("data:image/png;base64,")
    assert Thumbnails().uri(large, 96).startswith("data:image/webp;base64,")


def test_pictures_of_one_page_together_have_a_bound():
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    thumbnails = Thumbnails()
    found = [thumbnails.uri(noise, 96) for _ in range(400)]
    assert 100 < sum(map(bool, found)) < 400
    assert sum(map(len, found)) <= 1_500_000
