import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from visionbus.training.schedule import Schedule

pytestmark = pytest.mark.slow  # torch takes seconds to import

LIMITS = st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any)


def walked(schedule):
    """Return the phase and the fraction done at each step that remains."""
    seen = []
    while not schedule.finished:
        seen.append((schedule.phase, schedule.done))
        schedule = schedule.advanced()
    return seen


@given(LIMITS)
def test_each_phase_has_its_steps_and_begins_anew(limits):
    seen = walked(Schedule.of(limits))
    assert [phase for phase, _ in seen] == [phase for phase, limit in enumerate(limits) for _ in range(limit)]
    assert all(0 <= done < 1 for _, done in seen)


def test_fraction_done_grows_evenly():
    assert [done for _, done in walked(Schedule.of([4, 2]))] == [0, 0.25, 0.5, 0.75, 0, 0.5]


@given(LIMITS, st.integers(0, 80), st.integers(0, 80))
def test_shortened_it_has_exactly_so_many_steps_and_still_ends_at_the_end(limits, taken, left):
    schedule = Schedule.of(limits)
    for _ in range(min(taken, sum(limits) - 1)):
        schedule = schedule.advanced()
    before = schedule.left
    shorter = schedule.shortened(left)
    seen = walked(shorter)
    assert len(seen) == min(left, before)
    same_phase = [done for phase, done in seen if phase == schedule.phase]
    assert same_phase == sorted(same_phase)
    assert not same_phase or same_phase[0] == pytest.approx(schedule.done)  # the rate does not jump


def test_epochs_are_counted_over_all_phases():
    schedule, seen = Schedule.of([5, 4]), []
    while not schedule.finished:
        seen.append(schedule.epoch(2))
        schedule = schedule.advanced()
    assert [number for number, _ in seen] == [1, 1, 2, 2, 3, 4, 4, 5, 5]
    assert {of for _, of in seen} == {5}


def test_json_gives_it_back():
    schedule = Schedule.of([9, 4]).advanced().shortened(5)
    values = {"limits": list(schedule.limits), "phase": 0, "step": 1, "shortened_at": 1, "done_then": 1 / 9}
    assert Schedule.from_json(values) == schedule
