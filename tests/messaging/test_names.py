import pytest

from visionbus.messaging.names import check_subscription, dead_letter_topic, topic_fault

GOOD = ["abc", "Images", "visionbus.requests", "a-b_c.9", "x" * 100, "go.og", "abc.dead.letters"]
BAD = [
    "",
    "ab",
    "x" * 101,
    "1abc",
    ".abc",
    "-abc",
    "_abc",
    "goog",
    "google",
    "a b",
    "abc/d",
    "abc\n",
    "abc\0",
    "\u00e9tude",
]


@pytest.mark.parametrize("name", GOOD)
def test_good_topic_has_no_fault(name):
    assert topic_fault(name) is None


@pytest.mark.parametrize("name", BAD)
def test_bad_topic_is_explained(name):
    assert repr(name) in topic_fault(name)
    assert "3 to 100" in topic_fault(name)


def test_topic_of_dead_letters_is_not_for_declaring():
    assert "reserved for dead letters" in topic_fault("images.workers.dead")


@pytest.mark.parametrize("name", [*BAD, "with.dot"])
def test_bad_subscription_is_refused(name):
    with pytest.raises(ValueError, match="3 to 100"):
        check_subscription(name)


@pytest.mark.parametrize("name", ["abc", "Workers", "a-b_c9", "x" * 100])
def test_good_subscription_passes(name):
    check_subscription(name)


def test_dead_letters_go_to_a_topic_called_after_topic_and_subscription():
    assert dead_letter_topic("images", "workers") == "images.workers.dead"


def test_dead_letters_have_no_dead_letters():
    assert dead_letter_topic("images.workers.dead", "dead-letters") is None


def test_longest_derived_name_is_249_characters():
    assert len(dead_letter_topic("t" * 143, "s" * 100)) == 249
    with pytest.raises(ValueError, match="shorter subscription"):
        dead_letter_topic("t" * 144, "s" * 100)
