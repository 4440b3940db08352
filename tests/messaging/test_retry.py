import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging import Retry

seconds = st.floats(0, 1e6)
retries = st.builds(Retry, st.integers(1, 99), seconds, st.floats(1, 1e6), seconds)


def test_delays_double_from_one_second_to_a_minute():
    assert [Retry().delay_after(attempt) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(retries, st.integers(1, 10_000))
def test_delays_are_finite_never_shrink_and_never_exceed_the_longest(retry, attempt):
    delay, next_delay = retry.delay_after(attempt), retry.delay_after(attempt + 1)
    assert 0 <= delay <= next_delay <= retry.max_delay
    assert math.isfinite(next_delay)
    assert retry.delay_after(1) == min(retry.delay, retry.max_delay)


def test_no_delay_stays_no_delay_however_often():
    assert Retry(delay=0.0, factor=1000.0).delay_after(5000) == 0


@pytest.mark.parametrize(("most", "attempt", "last"), [(1, 1, True), (5, 4, False), (5, 5, True), (5, 6, True)])
def test_last_attempt_is_the_highest_allowed(most, attempt, last):
    assert Retry(max_attempts=most).is_last(attempt) is last


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 100},
        {"delay": -0.1},
        {"delay": math.nan},
        {"delay": math.inf},
        {"factor": 0.9},
        {"factor": math.inf},
        {"max_delay": -1.0},
        {"max_delay": math.inf},
    ],
)
def test_values_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        Retry(**options)
