import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.service.batching import BatchSize


@given(
    st.integers(1, 1024),
    st.lists(st.tuples(st.integers(1, 1024), st.integers(0, 10**9), st.floats(0, 1e6)), max_size=20),
)
def test_size_stays_between_one_and_the_most(most, batches):
    size = BatchSize(most)
    for images, weight, seconds in batches:
        size.observe(images, weight, seconds)
        assert 1 <= size.now <= most


def test_quick_small_images_fill_the_batch():
    size = BatchSize(256, seconds=0.0003)
    size.observe(256, 256 * 784, 0.08)
    assert size.now == 256


def test_slow_images_are_taken_a_few_at_a_time():
    size = BatchSize(256, seconds=0.1)
    assert size.now == 2
    for _ in range(20):
        size.observe(2, 1000, 2.0)
    assert size.now == 1


def test_large_images_are_taken_a_few_at_a_time():
    size = BatchSize(256)
    for _ in range(20):
        size.observe(10, 10_000_000, 0.01)
    assert size.now == 16


@pytest.mark.parametrize("most", [0, 1025])
def test_batch_out_of_range_is_refused(most):
    with pytest.raises(ValueError, match="1 to 1024"):
        BatchSize(most)
