from visionbus.service.backoff import Backoff


def test_delays_double_up_to_ten_seconds():
    backoff = Backoff()
    assert [round(backoff.after_death(healthy=False), 3) for _ in range(9)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        10,
        10,
    ]


def test_work_done_begins_anew():
    backoff = Backoff()
    for _ in range(5):
        backoff.after_death(healthy=False)
    assert backoff.after_death(healthy=True) == 0.1
    assert backoff.after_death(healthy=False) == 0.2
