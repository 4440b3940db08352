"""Parameters of kafka:// URLs, and the configurations that librdkafka gets."""

import base64
import json
import logging
import re
import time
import traceback
from dataclasses import fields
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging.driver import BUS_PARAMETERS, Address
from visionbus.messaging.drivers.kafka.logs import QUIET, ClientLog
from visionbus.messaging.drivers.kafka.settings import PARAMETERS, SECRETS, KafkaSettings
from visionbus.messaging.errors import AccessError

WORD = "hunter2"  # by a name, since tracebacks quote the tests, too
LOGGER = "visionbus.messaging.drivers.kafka"
PLAIN = "security_protocol=SASL_PLAINTEXT&sasl_mechanism=PLAIN&sasl_username=alice"
OAUTH = "security_protocol=SASL_PLAINTEXT&sasl_mechanism=OAUTHBEARER"
OIDC = f"{OAUTH}&sasl_oauthbearer_token_endpoint_url=https://idp/token&sasl_oauthbearer_client_id=visionbus"


def parse(query="", host="127.0.0.1:1"):
    return KafkaSettings.parse(Address.parse(f"kafka://{host}?{query}" if query else f"kafka://{host}"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Give an environment without the settings of whoever runs the tests."""
    for name in ("PASSWORD", "CLIENT_SECRET", "TOKEN", "KEY_PASSWORD", "KEYSTORE_PASSWORD", "ASSERTION_KEY_PASSWORD"):
        monkeypatch.delenv(f"VISIONBUS_KAFKA_{name}", raising=False)
        monkeypatch.delenv(f"VISIONBUS_KAFKA_{name}_FILE", raising=False)
    monkeypatch.delenv("VISIONBUS_KAFKA_USERNAME", raising=False)
    return monkeypatch


@pytest.fixture
def keep(tmp_path):
    """Keep a secret in a file, and return its path."""

    def keep(content, name="secret"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return keep


def jwt(**claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}."


def test_url_without_parameters_gives_the_documented_defaults():
    settings = parse(host="host:9092,host2:9092")
    assert settings == KafkaSettings("host:9092,host2:9092")
    assert (settings.partitions, settings.replication_factor, settings.group_protocol) == (None, None, "consumer")
    assert (settings.send_timeout, settings.linger, settings.prefetch_bytes) == (30.0, 0.0, 16_777_216)
    assert not settings.verbatim_names


def test_parameters_are_taken():
    settings = parse(
        "partitions=8&replication_factor=3&group_protocol=classic&names=verbatim&send_timeout=2.5&linger=0.005"
        "&prefetch_bytes=1048576"
    )
    assert settings == KafkaSettings("127.0.0.1:1", 8, 3, "classic", True, 2.5, 0.005, 1_048_576)  # noqa: FBT003
    assert settings.producer()["delivery.timeout.ms"] == 2500
    assert settings.producer()["linger.ms"] == 5.0
    assert settings.consumer("g", 10.0)["queued.max.messages.kbytes"] == 1024


def test_docs_have_every_parameter_and_its_default():
    text = (Path(__file__).parents[4] / "docs" / "kafka.md").read_text(encoding="utf-8")
    section = text.partition("## Parameters")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]*?) *\|", section, re.MULTILINE))
    assert table.keys() == PARAMETERS | BUS_PARAMETERS
    defaults = {field.name: str(field.default) for field in fields(KafkaSettings)}
    for name in ("group_protocol", "send_timeout", "linger", "prefetch_bytes"):
        assert table[name].strip("`") == defaults[name].removesuffix(".0")


@pytest.mark.parametrize("host", ["host", "host:9092", "a,b:1,c.example.org", "[::1]:9092", "[::1]", "127.0.0.1:1"])
def test_servers_are_taken(host):
    assert parse(host=host).client()["bootstrap.servers"] == host


@pytest.mark.parametrize(
    "host", ["host:0", "", "a,", ",a", "a b", "a:b", "a:", "PLAINTEXT:%2F%2Fa:1", "::1", "a:123456"]
)
def test_what_are_no_servers_is_refused_with_the_form(host):
    with pytest.raises(ValueError, match="kafka://host:9092,host2:9092"):
        parse(host=host)


def test_path_is_refused():
    with pytest.raises(ValueError, match="no path"):
        parse(host="host/topic")
    assert parse(host="host/").bootstrap == "host"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "", "many", "1e3", "\u0661", "99999999999"])
@pytest.mark.parametrize("name", ["partitions", "replication_factor", "prefetch_bytes"])
def test_what_is_no_whole_number_in_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}=.*whole number from"):
        parse(f"{name}={value}")


@pytest.mark.parametrize("value", ["-1", "", "nan", "inf", "30s", "1e9"])
@pytest.mark.parametrize("name", ["send_timeout", "linger"])
def test_what_is_no_time_in_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}=.*seconds from"):
        parse(f"{name}={value}")


@given(st.sampled_from(["partitions", "replication_factor", "prefetch_bytes", "send_timeout", "linger"]), st.text())
def test_any_value_is_taken_or_refused_by_name(name, value):
    try:
        settings = KafkaSettings.parse(Address("kafka", "host", "", {name: value}))
    except ValueError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert getattr(settings, name) == float(value)


@pytest.mark.parametrize("query", ["send_timeout=1&linger=1", "linger=60"])
def test_linger_as_long_as_the_send_timeout_is_refused(query):
    with pytest.raises(ValueError, match="less than send_timeout"):
        parse(query)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("group_protocol", "consumer, classic"),
        ("names", "verbatim"),
        ("security_protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("sasl_mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"),
    ],
)
def test_unknown_choice_names_the_known_ones(name, known):
    with pytest.raises(ValueError, match=f"{name}='x' in the kafka URL; known: {known}"):
        parse(f"{name}=x")


# Configurations


def test_producer_is_idempotent_and_partitions_like_java():
    settings = parse().producer()
    assert settings["enable.idempotence"] is True
    assert settings["acks"] == "all"
    assert settings["partitioner"] == "murmur2_random"
    assert settings["allow.auto.create.topics"] is False


def test_consumer_commits_nothing_by_itself_and_never_jumps():
    settings = parse().consumer("t.workers", 10.0)
    assert settings["group.id"] == "t.workers"
    assert settings["enable.auto.commit"] is settings["enable.auto.offset.store"] is False
    assert (settings["auto.offset.reset"], settings["isolation.level"]) == ("error", "read_committed")


def test_session_timeout_is_the_clients_on_the_classic_protocol_only():
    refused = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}
    assert not refused & parse().consumer("g", 10.0).keys()
    classic = parse("group_protocol=classic")
    assert classic.consumer("g", 60.0).items() >= {"session.timeout.ms": 60_000, "heartbeat.interval.ms": 500}.items()
    assert classic.consumer("g", 1.0).items() >= {"session.timeout.ms": 1000, "heartbeat.interval.ms": 100}.items()


def test_further_settings_go_to_the_clients_that_know_them():
    settings = parse(
        "rdkafka.socket.keepalive.enable=true&rdkafka.compression.type=zstd&rdkafka.fetch.max.bytes=1000"
        "&rdkafka.client.id=me&rdkafka.message.max.bytes=2000"
    )
    everywhere = {"socket.keepalive.enable": "true", "client.id": "me", "message.max.bytes": "2000"}
    producing, fetching = {"compression.type": "zstd"}, {"fetch.max.bytes": "1000"}
    assert settings.client().items() >= everywhere.items()
    assert settings.producer().items() >= (everywhere | producing).items()
    assert settings.consumer("g", 10.0).items() >= (everywhere | fetching).items()
    assert not (producing | fetching).keys() & settings.client().keys()
    assert not producing.keys() & settings.consumer("g", 10.0).keys()
    assert not fetching.keys() & settings.producer().keys()


DEPENDED_ON = {**parse().producer(), **parse("group_protocol=classic").consumer("g", 10.0)}.keys() - {
    # tuning, free to change
    "client.id",
    "enable.metrics.push",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "message.max.bytes",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.min.messages",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "topic.metadata.refresh.interval.ms",
    "logger",  # no setting of librdkafka
}


@pytest.mark.parametrize(
    "name", sorted({*DEPENDED_ON, "request.required.acks", "metadata.broker.list", "group.instance.id", "log.queue"})
)
def test_what_the_bus_depends_on_cannot_be_set(name):
    with pytest.raises(ValueError, match=r"the bus depends on|has a name of its own: write \w+="):
        parse(f"rdkafka.{name}=1")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("linger.ms", "linger"),
        ("queue.buffering.max.ms", "linger"),
        ("message.timeout.ms", "send_timeout"),
        ("sasl.username", "sasl_username"),
        ("sasl.mechanisms", "sasl_mechanism"),
        ("ssl.ca.location", "ssl_ca_location"),
    ],
)
def test_setting_with_a_parameter_of_its_own_is_refused_with_its_name(name, parameter):
    with pytest.raises(ValueError, match=f"write {parameter}="):
        parse(f"rdkafka.{name}=1")


@pytest.mark.parametrize("name", ["plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location"])
def test_url_loads_no_code_and_runs_no_command(name):
    with pytest.raises(ValueError, match="foreign code"):
        parse(f"rdkafka.{name}=1")


@pytest.mark.parametrize(
    "name", ["", "SASL.PASSWORD", "acks ", "Acks", "a/b", "error_cb", "logger", "test.mock.num.brokers"]
)
def test_what_can_be_no_setting_is_refused(name):
    with pytest.raises(ValueError, match="names no librdkafka setting"):
        parse(f"rdkafka.{name.replace(' ', '%20')}=1")


def client_configurations(settings):
    return [settings.client(), settings.producer(), settings.consumer("g", 10.0)]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_librdkafka_takes_the_configurations_and_writes_to_logging_alone(protocol, environment, capfd, caplog):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    settings = parse(
        f"{PLAIN}&group_protocol={protocol}&rdkafka.fetch.min.bytes=2&rdkafka.batch.size=9&rdkafka.debug=all"
    )
    caplog.set_level(logging.DEBUG, LOGGER)
    admin, producer, consumer = (
        make(configuration)
        for make, configuration in zip((AdminClient, Producer, Consumer), client_configurations(settings), strict=True)
    )
    admin.poll(0.2)
    producer.poll(0.2)
    consumer.consume(1, 0.2)
    consumer.close()
    assert {record.name for record in caplog.records} == {LOGGER}
    for record in caplog.records:
        assert "hunter2" not in record.getMessage()
        assert "CONFWARN" not in record.getMessage()
    assert any("sasl.password = [redacted]" in record.getMessage() for record in caplog.records)
    assert capfd.readouterr() == ("", "")


def test_settings_that_librdkafka_does_not_know_are_found_without_a_connection(tmp_path):
    parse().check()
    parse("group_protocol=classic&rdkafka.socket.keepalive.enable=true").check()
    path = tmp_path / "empty.pem"
    path.touch()
    for query in (
        "rdkafka.no.such=1",
        "rdkafka.fetch.min.bytes=x",
        "rdkafka.compression.type=x",
        f"security_protocol=SSL&ssl_certificate_location={path}&ssl_key_location={path}",
    ):
        with pytest.raises(ValueError, match="librdkafka does not take what the kafka URL says"):
            parse(query).check()


def test_repeated_line_is_passed_on_once(caplog):
    caplog.set_level(logging.INFO, "visionbus")
    line = (logging.ERROR, "%s [%s] %s", "FAIL", "visionbus#producer-1")
    client = ClientLog()
    for milliseconds in range(10):
        client.log(*line, f"h:1: Connection refused (after {milliseconds}ms in state CONNECT)")
    client.log(*line, "h:1: Disconnected (after 3ms in state UP)")
    assert [record.getMessage().split(": ")[1].split(" (")[0] for record in caplog.records] == [
        "Connection refused",
        "Disconnected",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}  # of single connections, which come again


def test_repeated_line_is_passed_on_again_after_a_while(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "visionbus")
    client = ClientLog()
    now = time.monotonic()
    for later in (0, 1, QUIET, QUIET + 1):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        client.log(logging.ERROR, "%s [%s] %s", "FAIL", "me", "h:1: Connection refused")
    assert len(caplog.records) == 2


# Secrets


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl_key",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
    ],
)
def test_secret_setting_is_refused_and_not_repeated(name):
    with pytest.raises(ValueError, match=f"rdkafka.{name} would put a secret into the kafka URL: ") as caught:
        parse(f"rdkafka.{name}={WORD}")
    assert WORD not in "".join(traceback.format_exception(caught.value))


def test_every_secret_has_a_file_parameter_and_is_none_itself():
    assert {f"{name}_file" for name in SECRETS} <= PARAMETERS
    assert not SECRETS.keys() & PARAMETERS
    assert "VISIONBUS_KAFKA_PASSWORD" in SECRETS["sasl_password"]


@pytest.mark.parametrize("way", ["variable", "variable of a file", "parameter"])
def test_password_comes_from_the_environment_or_a_file(way, environment, keep):
    query = PLAIN
    if way == "variable":
        environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    elif way == "variable of a file":
        environment.setenv("VISIONBUS_KAFKA_PASSWORD_FILE", str(keep("hunter2\n")))
    else:
        query += f"&sasl_password_file={keep('hunter2')}"
        environment.setenv("VISIONBUS_KAFKA_PASSWORD", "that of another broker")
    settings = parse(query)
    assert all(configuration["sasl.password"] == "hunter2" for configuration in client_configurations(settings))
    assert settings.client()["sasl.username"] == "alice"


def test_user_may_come_from_the_environment(environment):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    environment.setenv("VISIONBUS_KAFKA_USERNAME", "bob")
    assert parse(PLAIN.replace("&sasl_username=alice", "")).client()["sasl.username"] == "bob"
    assert parse(PLAIN).client()["sasl.username"] == "alice"


def test_environment_of_another_bus_does_not_matter(environment):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    environment.setenv("VISIONBUS_KAFKA_USERNAME", "bob")
    assert not {"sasl.username", "sasl.password"} & parse().client().keys()


def test_two_variables_for_one_secret_are_refused(environment, keep):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    environment.setenv("VISIONBUS_KAFKA_PASSWORD_FILE", str(keep("hunter2")))
    with pytest.raises(ValueError, match="both set: keep one"):
        parse(PLAIN)


def test_secret_is_read_anew_for_each_client(environment, keep):
    settings = parse(f"{PLAIN}&sasl_password_file={keep('first')}")
    keep("second\n")
    assert settings.client()["sasl.password"] == "second"
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "first")
    settings = parse(PLAIN)
    environment.delenv("VISIONBUS_KAFKA_PASSWORD")
    with pytest.raises(AccessError, match="VISIONBUS_KAFKA_PASSWORD is no longer set"):
        settings.client()


def test_relative_secret_file_is_found_after_a_change_of_folder(keep, environment, tmp_path):
    keep("hunter2", "password.txt")
    environment.chdir(tmp_path)
    settings = parse(f"{PLAIN}&sasl_password_file=password.txt")
    environment.chdir("/")
    assert settings.client()["sasl.password"] == "hunter2"


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (WORD.encode() + b"\xff", "not UTF-8")],
)
def test_secret_file_without_a_secret_is_refused_with_its_path(content, text, tmp_path):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        parse(f"{PLAIN}&sasl_password_file={path}")
    assert str(path) in str(caught.value)
    assert "sasl_password_file" in str(caught.value)
    assert WORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", ["", "%00"])
def test_secret_file_without_a_name_is_refused(value):
    with pytest.raises(ValueError, match="sasl_password_file names no file"):
        parse(f"{PLAIN}&sasl_password_file={value}")


def test_nothing_that_is_shown_holds_a_secret(environment, keep):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    environment.setenv("VISIONBUS_KAFKA_KEY_PASSWORD", "hunter3")
    settings = parse(PLAIN.replace("PLAINTEXT", "SSL"))
    token = parse(f"{OAUTH}&sasl_oauthbearer_token_file={keep('hunter4')}")
    environment.setenv("VISIONBUS_KAFKA_CLIENT_SECRET", "hunter5")
    shown = [repr(part) for part in (settings, token, parse(OIDC), *map(client_configurations, (settings, token)))]
    shown += [
        repr(parse(OIDC).client()),
        str(settings),
        str(parse(OIDC).client()),
    ]
    assert not [text for text in shown if "hunter" in text]
    assert settings.client()["ssl.key.password"] == "hunter3"
    assert parse(OIDC).client()["sasl.oauthbearer.client.secret"] == "hunter5"


# TLS and SASL


@pytest.mark.parametrize(
    ("query", "cure"),
    [
        ("sasl_mechanism=PLAIN", "add security_protocol=SASL_SSL"),
        ("security_protocol=SSL&sasl_mechanism=PLAIN", "add security_protocol=SASL_SSL"),
        ("security_protocol=SASL_SSL", "needs a sasl_mechanism; known: PLAIN"),
        (PLAIN.replace("&sasl_username=alice", ""), "needs a user: add sasl_username= .*VISIONBUS_KAFKA_USERNAME"),
        (PLAIN.replace("alice", ""), "needs a user"),
        (PLAIN, "needs a password: set VISIONBUS_KAFKA_PASSWORD or .*sasl_password_file="),
        (PLAIN.replace("PLAIN&", "SCRAM-SHA-512&"), "SCRAM-SHA-512 needs a password"),
        ("sasl_username=alice", "sasl_username .* no effect with security_protocol=PLAINTEXT"),
        ("ssl_ca_location=/", "ssl_ca_location .* no effect with security_protocol=PLAINTEXT"),
        (f"{OAUTH}&sasl_username=alice", "sasl_username .* no effect with .*OAUTHBEARER"),
        (f"{PLAIN}&sasl_oauthbearer_scope=x", "sasl_oauthbearer_scope .* no effect with .*PLAIN:"),
        ("security_protocol=SSL&ssl_ca_location=/nowhere", "ssl_ca_location names a file .*'/nowhere'"),
        ("security_protocol=SSL&ssl_key_location=/dev/null", "a pair: add ssl_certificate_location="),
        ("security_protocol=SSL&ssl_certificate_location=/dev/null", "a pair: add ssl_key_location="),
        ("security_protocol=SSL&ssl_endpoint_identification_algorithm=x", "known: https, none"),
        (OAUTH, "needs a token: set VISIONBUS_KAFKA_TOKEN .*sasl_oauthbearer_token_endpoint_url="),
        (OIDC, "needs a secret: set VISIONBUS_KAFKA_CLIENT_SECRET"),
        (OIDC.replace("&sasl_oauthbearer_client_id=visionbus", ""), "add sasl_oauthbearer_client_id="),
        (OIDC.replace("https://idp", "idp"), "https://host/path"),
        (f"{OIDC}&sasl_oauthbearer_token_file=/proc/version", "two ways to a token: keep one"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_its_cure(query, cure):
    with pytest.raises(ValueError, match=cure):
        parse(query)


def test_password_in_the_token_endpoint_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="without a user or password") as caught:
        parse(OIDC.replace("https://", "https://hunter2@"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_mechanisms_are_taken_in_any_case(mechanism, environment):
    environment.setenv("VISIONBUS_KAFKA_PASSWORD", "hunter2")
    client = parse(f"security_protocol=sasl_ssl&sasl_mechanism={mechanism}&sasl_username=alice").client()
    assert (client["security.protocol"], client["sasl.mechanism"]) == ("SASL_SSL", mechanism.upper())


def test_provider_of_tokens_is_librdkafkas_part(environment):
    environment.setenv("VISIONBUS_KAFKA_CLIENT_SECRET", "hunter2")
    client = parse(f"{OIDC}&sasl_oauthbearer_scope=kafka").client()
    assert client["sasl.oauthbearer.method"] == "oidc"
    assert client["sasl.oauthbearer.token.endpoint.url"] == "https://idp/token"
    assert (client["sasl.oauthbearer.client.id"], client["sasl.oauthbearer.scope"]) == ("visionbus", "kafka")


def test_other_grants_of_librdkafka_are_let_through():
    further = "rdkafka.sasl.oauthbearer.method=oidc&rdkafka.sasl.oauthbearer.metadata.authentication.type=azure_imds"
    assert parse(f"{OAUTH}&{further}").client()["sasl.oauthbearer.metadata.authentication.type"] == "azure_imds"


def test_token_of_a_file_is_read_anew_with_its_user_and_end(keep):
    ends = time.time() + 1000
    settings = parse(f"{OAUTH}&sasl_oauthbearer_token_file={keep(jwt(sub='alice', exp=ends))}")
    ask = settings.client()["oauth_cb"]
    assert ask("") == (jwt(sub="alice", exp=ends), ends, "alice", {})
    keep(jwt(sub="bob", exp=ends + 1))
    assert ask("")[1:3] == (ends + 1, "bob")


@pytest.mark.parametrize(
    "token", ["opaque", "a.b.c", "a.bm90aGluZw.c", "a.W10.c", "a.\u00e9.c", jwt(exp="soon"), jwt()]
)
def test_token_that_does_not_tell_its_end_is_asked_for_again_in_a_minute(token, environment):
    environment.setenv("VISIONBUS_KAFKA_TOKEN", token)
    before = time.time()
    text, ends, principal, _ = parse(OAUTH).client()["oauth_cb"]("")
    assert (text, principal) == (token, "")
    assert before + 60 <= ends <= time.time() + 60


def test_token_that_has_ended_is_an_error_at_once(keep):
    path = keep(jwt(sub=WORD, exp=time.time() - 1))
    settings = parse(f"{OAUTH}&sasl_oauthbearer_token_file={path}")
    with pytest.raises(AccessError, match="sasl_oauthbearer_token_file gives has ended") as caught:
        settings.client()
    assert path.read_text() not in str(caught.value)


def test_token_that_is_gone_is_logged_since_the_client_library_keeps_silent(keep, caplog):
    path = keep(jwt(sub="alice"))
    ask = parse(f"{OAUTH}&sasl_oauthbearer_token_file={path}").client()["oauth_cb"]
    path.unlink()
    with pytest.raises(AccessError, match="cannot be read"):
        ask("")
    assert "no token for Kafka: sasl_oauthbearer_token_file names a file that cannot be read" in caplog.text
