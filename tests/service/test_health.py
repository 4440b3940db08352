import pytest

from visionbus.service.health import Progress


def test_work_without_progress_is_stuck_at_the_limit():
    progress = Progress(10.0)
    assert not progress.observe(1, 100.0, busy=True)
    assert not progress.observe(1, 109.9, busy=True)
    assert progress.observe(1, 110.0, busy=True)


def test_progress_is_health_however_long_it_takes_in_all():
    progress = Progress(10.0)
    assert not any(progress.observe(count, count * 9.0, busy=True) for count in range(100))


def test_idle_worker_is_healthy_for_ever():
    progress = Progress(10.0)
    assert not any(progress.observe(4, now * 1000.0, busy=False) for now in range(100))


def test_work_begun_after_a_long_rest_has_its_full_time():
    progress = Progress(10.0)
    progress.observe(4, 0.0, busy=False)
    assert not progress.observe(5, 1000.0, busy=True)


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match="more than 0"):
        Progress(0.0)
