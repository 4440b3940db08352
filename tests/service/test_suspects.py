from hypothesis import given
from hypothesis import strategies as st

from visionbus.service.suspects import ALONE, IN_COMPANY, MAX_CASES, Suspects

names = st.sampled_from("abcd")
deaths = st.tuples(st.lists(names, unique=True, max_size=4), st.booleans())
events = st.lists(st.one_of(deaths, names), max_size=60)


def count(history, name):
    """Say what the documentation says, of one request: deaths in company, then alone, since it was last settled."""
    company = alone = 0
    for event in history:
        if event == name:
            company = alone = 0
        elif isinstance(event, tuple) and name in event[0]:
            if event[1] and company >= IN_COMPANY:
                alone += 1
            else:
                company += 1
    return company, alone


@given(events)
def test_suspected_at_two_deaths_and_poison_at_three_more_alone(history):
    suspects = Suspects()
    for event in history:
        if isinstance(event, tuple):
            suspects.died(event[0], alone=event[1])
        else:
            suspects.settled([event])
    for name in "abcd":
        company, alone = count(history, name)
        assert (name in suspects.poison) == (alone >= ALONE)
        assert (name in suspects.suspects) == (company >= IN_COMPANY and alone < ALONE)


@given(st.lists(st.lists(names, unique=True, max_size=4), max_size=60))
def test_deaths_in_company_show_no_poison(batches):
    suspects = Suspects()
    for batch in batches:
        suspects.died(batch, alone=False)
    assert not suspects.poison


def test_settled_is_cleared():
    suspects = Suspects()
    for _ in range(2):
        suspects.died(["a", "b"], alone=False)
    suspects.settled(["a", "never seen"])
    assert suspects.suspects == {"b"}


def test_the_longest_unseen_are_forgotten():
    suspects = Suspects()
    suspects.died(["old", "seen again"], alone=False)
    suspects.died([str(number) for number in range(MAX_CASES - 2)], alone=False)
    suspects.died(["seen again"], alone=False)
    suspects.died(["one more"], alone=False)
    suspects.died(["old"], alone=False)
    assert suspects.suspects == {"seen again"}
