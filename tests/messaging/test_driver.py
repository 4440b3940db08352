"""Bus URLs, and how one finds its driver."""

import subprocess
import sys
import traceback

import pytest

from visionbus.messaging import MissingExtraError, connect
from visionbus.messaging.driver import Address, Patience, driver_class
from visionbus.messaging.drivers.memory import MemoryDriver


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("memory://", "", ""),
        ("kafka://host:9092,host2:9093", "host:9092,host2:9093", ""),
        ("kafka://[::1]:9092", "[::1]:9092", ""),
        ("sqlite:///relative.db", "", "/relative.db"),
        ("sqlite:////tmp/a%20b%23c.db", "", "//tmp/a b#c.db"),
        ("PubSub://my-project", "my-project", ""),
    ],
)
def test_url_is_taken_apart(url, host, path):
    address = Address.parse(url)
    assert (address.scheme, address.host, address.path) == (url.partition(":")[0].lower(), host, path)
    assert address.parameters == {}


def test_parameters_are_decoded_and_may_be_empty():
    assert Address.parse("kafka://h?a=1%262&b=&c=x+y").parameters == {"a": "1&2", "b": "", "c": "x y"}


@pytest.mark.parametrize("url", ["", "visionbus.db", "sqlite", "sqlite:", "sqlite:/x.db", "://host", "/abs/path.db"])
def test_what_is_no_url_is_refused_with_an_example(url):
    with pytest.raises(ValueError, match=r"sqlite:///visionbus\.db"):
        connect(url)


@pytest.mark.parametrize("url", ["sqlite:///x.db?foo", "kafka://[::1/x", "sqlite:///x.db?a=1&b"])
def test_malformed_url_is_refused_with_its_form(url):
    with pytest.raises(ValueError, match=r"write scheme://host/path\?name=value"):
        connect(url)


def test_at_sign_after_the_host_is_no_secret():
    assert Address.parse("sqlite:///a@b.db").path == "/a@b.db"
    assert Address.parse("kafka://host?client.id=a@b").parameters == {"client.id": "a@b"}


@pytest.mark.parametrize(
    "url",
    ["kafka://user:hunter2@host", "kafka://hunter2@host", "sqlite://hunter2@/x.db", "kafka://user:hunter2%40host"],
)
def test_secret_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="environment or in a file") as caught:
        connect(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("value", "number"), [("1", 1), ("0064", 64)])
def test_whole_number_in_a_url_is_read(value, number):
    address = Address.parse(f"kafka://host?streams={value}")
    assert address.integer("streams", 1, 64) == number
    assert address.integer("partitions", 1, 64) is None


@pytest.mark.parametrize("value", ["", "0", "65", "1.0", "-1", "+1", " 1", "1_0", "\u0661", "9" * 5000])
def test_what_is_no_whole_number_in_range_is_refused(value):
    with pytest.raises(ValueError, match=r"streams=.* in the kafka URL: give a whole number from 1 to 64"):
        Address("kafka", "host", "", {"streams": value}).integer("streams", 1, 64)


def test_patience_ends_after_its_time_and_never_while_somebody_waits():
    patience = Patience(10.0, 0.0)
    assert patience.until == 10.0
    patience.asked(too_late=False)
    patience.shorten(1.0, 5.0)
    assert patience.until == float("inf")
    patience.answered(7.0, cancelled=False)
    assert patience.until == 17.0
    patience.shorten(1.0, 8.0)
    assert patience.until == 9.0
    patience.shorten(5.0, 8.0)
    assert patience.until == 9.0


def test_patience_is_doubled_whenever_somebody_asks_too_late_up_to_an_hour():
    patience = Patience(10.0, 0.0)
    until = []
    for too_late in (True, False, True, *[True] * 20):
        patience.asked(too_late=too_late)
        patience.answered(0.0, cancelled=False)
        until.append(patience.until)
    assert (until[:3], until[-1]) == ([20.0, 20.0, 40.0], 3600.0)


def test_patience_is_shorter_after_a_cancelled_receive_and_is_doubled_too():
    patience, hasty = Patience(60.0, 0.0), Patience(1.0, 0.0)
    for one in (patience, hasty):
        one.asked(too_late=False)
        one.answered(0.0, cancelled=True)
    assert (patience.until, hasty.until) == (5.0, 1.0)
    patience.asked(too_late=True)
    patience.answered(0.0, cancelled=True)
    assert patience.until == 10.0


@pytest.mark.parametrize("value", ["1", "", "longer"])
def test_parameter_given_twice_is_refused(value):
    with pytest.raises(ValueError, match="'a' is given twice"):
        Address.parse(f"kafka://host?a={value}&b=2&a={value}")


def test_fragment_is_refused_with_its_cure():
    with pytest.raises(ValueError, match="%23"):
        connect("sqlite:///a#b.db")


@pytest.mark.parametrize("query", ["novalue", "a=1&&b=2", "a=1&b"])
def test_query_that_is_none_is_refused(query):
    with pytest.raises(ValueError, match="query"):
        Address.parse(f"memory://?{query}")


def test_unknown_scheme_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown scheme 'nats'.*known:.*memory.*sqlite"):
        connect("nats://host")


def test_unknown_parameter_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown parameter 'sync'.*known: max_message_bytes, synchronous"):
        connect("sqlite:///x.db?sync=full")


def test_value_of_an_unknown_parameter_is_not_repeated():
    with pytest.raises(ValueError, match="unknown parameter 'password'") as caught:
        connect("memory://?password=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["kafka:h?password=hunter2", "kafka://h?password=hunter2&x", "kafka://h?password=a&hunter2", "kafka://h?hunter2#b"],
)
def test_query_of_what_is_no_url_is_not_repeated(url):
    with pytest.raises(ValueError, match=r"'kafka:.*h'") as caught:
        connect(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url", ["kafka:/u:hunter2@h:9092", "kafka:u:hunter2@h", "://u:hunter2@h", "kafka:u:hunter2%40h"]
)
def test_what_may_be_a_password_of_what_is_no_url_is_not_repeated(url):
    with pytest.raises(ValueError, match="is not a bus URL") as caught:
        connect(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["memory://host", "memory:///path"])
def test_memory_takes_neither_host_nor_path(url):
    with pytest.raises(ValueError, match="memory://"):
        connect(url)


@pytest.mark.parametrize("limit", ["0", "-1", "1e6", "", "many", "\u0661", "9" * 5000])
def test_size_limit_that_is_no_number_of_bytes_is_refused(limit):
    with pytest.raises(ValueError, match="max_message_bytes"):
        connect(f"memory://?max_message_bytes={limit}")


def test_size_limit_comes_from_the_url():
    assert connect("memory://").max_message_bytes == 1_000_000
    assert connect("memory://?max_message_bytes=5000000").max_message_bytes == 5_000_000


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a distribution with an entry point, as if somebody had installed it."""

    def install(scheme, target, code=""):
        metadata = tmp_path / "theirs-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[visionbus.messaging.drivers]\n{scheme} = {target}\n")
        (tmp_path / "their_driver.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "their_driver", raising=False)

    return install


THEIRS = """
from visionbus.messaging.drivers.memory import MemoryDriver
class Theirs(MemoryDriver):
    parameters = frozenset({"colour"})
    parameter_prefixes = ("paint.",)
    secrets = {"password": "set THEIR_PASSWORD"}
"""


def test_driver_of_another_distribution_is_found_by_its_entry_point(install):
    install("theirs", "their_driver:Theirs", THEIRS)
    assert issubclass(driver_class("theirs"), MemoryDriver)
    connect("theirs://?colour=red&max_message_bytes=5")
    with pytest.raises(ValueError, match="known: colour, max_message_bytes"):
        connect("theirs://?size=3")


def test_parameters_with_a_prefix_of_the_driver_are_its_own_to_check(install):
    install("theirs", "their_driver:Theirs", THEIRS)
    connect("theirs://?paint.dry=no&paint.=")
    with pytest.raises(ValueError, match=r"unknown parameter 'paint' in the theirs URL; known: .*, paint\.\*"):
        connect("theirs://?paint=3")


def test_secret_parameter_is_refused_with_its_cure_and_not_repeated(install):
    install("theirs", "their_driver:Theirs", THEIRS)
    with pytest.raises(ValueError, match="must not hold a secret, password: set THEIR_PASSWORD") as caught:
        connect("theirs://?password=hunter2")
    assert "hunter2" not in str(caught.value)


def test_unknown_scheme_names_those_of_others_too(install):
    install("theirs", "their_driver:Theirs", THEIRS)
    with pytest.raises(ValueError, match="known: kafka, memory, pubsub, sqlite, theirs"):
        connect("thiers://")


def test_own_scheme_cannot_be_taken_by_others(install):
    install("memory", "their_driver:Theirs", THEIRS)
    assert driver_class("memory") is MemoryDriver


def test_missing_client_library_is_an_error_that_names_the_extra(install):
    code = "from visionbus.messaging import MissingExtraError\nraise MissingExtraError('pip install theirs[client]')"
    install("theirs", "their_driver:Theirs", code)
    with pytest.raises(MissingExtraError, match="theirs"):
        connect("theirs://")


def test_what_is_no_driver_is_refused(install):
    install("theirs", "their_driver:Theirs", "Theirs = dict")
    with pytest.raises(TypeError, match=r"their_driver:Theirs.*Driver"):
        connect("theirs://")


def test_drivers_are_imported_only_when_asked_for():
    code = "import sys, visionbus.messaging; print([name for name in sys.modules if 'drivers.' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"
