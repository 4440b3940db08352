"""A Kafka with TLS, users and ACLs really switched on."""

import asyncio
import base64
import json
import logging
import threading
import time
import traceback
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives import serialization

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK
from visionbus.brokers.security import Security
from visionbus.messaging import AccessError, Message, MessagingError, connect

pytestmark = pytest.mark.slow

USERS = {name: f"hunter2-{name}" for name in ("root", "sender", "receiver", "founder", "stranger")}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "mutual TLS")
WRONG = "hunter3"
PEM = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def token(user, lives=600.0):
    now = time.time()
    parts = ({"alg": "none"}, {"sub": user, "iat": now - 1000, "exp": now + lives})
    return "".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") + "." for part in parts)


def issue(authority, folder, name, *hosts):
    """Write a certificate and its key for a server or a user."""
    issued = authority.issue_cert(*hosts) if hosts else authority.issue_cert(f"{name}@example.org", common_name=name)
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (folder / f"{name}.key").write_bytes(key.private_bytes(*PEM))
    (folder / f"{name}.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))


@dataclass(frozen=True)
class Secured:
    """A cluster, and the files of its users."""

    cluster: KafkaCluster
    folder: Path

    def url(self, user, mechanism="SCRAM-SHA-512", *, secret=None, authority="authority", host="127.0.0.1", **more):
        """Return the URL by which a user comes in; the secret is in a file."""
        given = {"ssl_ca_location": self.folder / f"{authority}.pem", "security_protocol": "SASL_SSL"}
        servers = self.cluster.sasl_bootstrap.replace("127.0.0.1", host)
        file = self.folder / f"secret-{uuid.uuid4().hex}"
        if mechanism == "mutual TLS":
            servers = self.cluster.mutual_bootstrap
            given |= {"security_protocol": "SSL"}
            given |= {f"ssl_{kind}_location": self.folder / f"{user}.{end}" for kind, end in (CERTIFICATE, KEY)}
        elif mechanism == "OAUTHBEARER":
            file.write_text(secret or token(user))
            given |= {"sasl_mechanism": mechanism, "sasl_oauthbearer_token_file": file}
        else:
            file.write_text(secret or USERS[user])
            given |= {"sasl_mechanism": mechanism, "sasl_username": user, "sasl_password_file": file}
        return f"kafka://{servers}?" + "&".join(f"{name}={quote(str(value))}" for name, value in (given | more).items())

    def allow(self, user, *rules):
        """Let a user do something to a resource of this name."""
        client = AdminClient({"bootstrap.servers": self.cluster.bootstrap, "log_level": 0})
        bindings = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for kind, name, *operations in rules
            for operation in operations
        ]
        for done in client.create_acls(bindings).values():
            done.result(30)


CERTIFICATE, KEY = ("certificate", "pem"), ("key", "key")


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trustme.CA().cert_pem.write_to_path(folder / "another.pem")
    issue(authority, folder, "server", "127.0.0.1")
    for user in USERS:
        issue(authority, folder, user)
    security = Security(
        folder / "server.pem", folder / "server.key", folder / "authority.pem", USERS, super_users=("root",)
    )
    with KafkaCluster(properties=QUICK, security=security) as cluster:
        yield Secured(cluster, folder)


@pytest.fixture
def topic():
    return f"images-{uuid.uuid4().hex}"


async def declare(url, topic):
    async with connect(url) as bus:
        await bus.declare(topic, "workers")


async def send(url, topic):
    async with connect(url) as bus:
        return await bus.send(topic, Message(b"data", "key", {"name": "value"}))


async def receive(url, topic):
    async with connect(url) as bus, bus.subscribe(topic, "workers") as subscription:
        (delivery,) = await subscription.receive()
        await subscription.ack(delivery)
        return delivery.message


async def reject(url, topic):
    async with connect(url) as bus, bus.subscribe(topic, "workers") as subscription:
        (delivery,) = await subscription.receive()
        await subscription.reject(delivery, reason="a test")


def refusal(work):
    with pytest.raises(MessagingError) as caught:
        asyncio.run(work)
    return caught.value


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_right_credentials_let_everything_happen(secured, topic, mechanism, protocol):
    url = secured.url("root", mechanism, group_protocol=protocol)
    asyncio.run(declare(url, topic))
    asyncio.run(send(url, topic))
    assert asyncio.run(receive(url, topic)) == Message(b"data", "key", {"name": "value"})


@pytest.mark.parametrize("verb", [declare, send, receive])
@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "mutual TLS"])
def test_wrong_secret_is_refused_with_its_cure(secured, topic, mechanism, verb):
    url = secured.url("root", mechanism, secret=WRONG)
    error = refusal(verb(url, topic))
    assert isinstance(error, AccessError)
    assert "credentials" in str(error)
    assert WRONG not in str(error)


def test_new_password_in_the_file_counts_from_the_next_connection(secured, topic):
    url = secured.url("root", secret=WRONG)
    assert isinstance(refusal(declare(url, topic)), AccessError)
    (file,) = (path for path in secured.folder.glob("secret-*") if path.read_text() == WRONG and path.name in url)
    file.write_text(USERS["root"])
    asyncio.run(declare(url, topic))


def test_user_without_a_password_of_this_name_is_refused(secured, topic):
    url = secured.url("root").replace("sasl_username=root", "sasl_username=nobody")
    assert isinstance(refusal(declare(url, topic)), AccessError)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "mutual TLS"])
def test_broker_of_an_unknown_authority_is_not_trusted(secured, topic, mechanism):
    error = refusal(declare(secured.url("root", mechanism, authority="another"), topic))
    assert isinstance(error, AccessError)
    assert "certificate verify failed" in str(error)


def test_broker_by_another_name_than_its_certificates_is_not_trusted(secured, topic):
    url = secured.url("root", host="localhost")
    error = refusal(declare(url, topic))
    assert isinstance(error, AccessError)
    assert "certificate verify failed" in str(error)
    asyncio.run(declare(f"{url}&ssl_endpoint_identification_algorithm=none", topic))


def test_client_without_a_certificate_is_refused_where_one_is_wanted(secured, topic):
    url = secured.url("root", "mutual TLS")
    error = refusal(declare(url.partition("&ssl_certificate")[0], topic))
    assert isinstance(error, AccessError)
    assert "certificate required" in str(error)


def test_tls_is_refused_where_there_is_none(secured, topic):
    url = secured.url("root", "mutual TLS").replace(secured.cluster.mutual_bootstrap, secured.cluster.bootstrap)
    error = refusal(declare(url, topic))
    assert isinstance(error, AccessError)
    assert "PLAINTEXT" in str(error)


def test_key_of_another_certificate_is_refused_before_any_connection(secured):
    url = secured.url("root", "mutual TLS")
    with pytest.raises(ValueError, match="key values mismatch"):
        connect(url.replace("root.key", "sender.key"))


class TokenEndpoint(BaseHTTPRequestHandler):
    """An OpenID Connect provider that knows one client, and gives it a token of root."""

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.forms.append(form)
        known = base64.b64encode(f"visionbus:{USERS['root']}".encode()).decode()
        good = self.headers["Authorization"] == f"Basic {known}"
        answer = {"access_token": token("root"), "expires_in": 600} if good else {"error": "invalid_client"}
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments):
        """Keep silent."""


@pytest.fixture
def provider():
    with ThreadingHTTPServer(("127.0.0.1", 0), TokenEndpoint) as server:
        server.forms = []
        server.url = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url_by_provider(secured, provider, secret):
    file = secured.folder / f"secret-{uuid.uuid4().hex}"
    file.write_text(secret)
    url = secured.url("root", "OAUTHBEARER").partition("&sasl_oauthbearer_token_file")[0]
    given = {"token_endpoint_url": provider.url, "client_id": "visionbus", "scope": "kafka", "client_secret_file": file}
    return url + "".join(f"&sasl_oauthbearer_{name}={quote(str(value))}" for name, value in given.items())


def test_provider_of_tokens_lets_everything_happen(secured, topic, provider):
    url = url_by_provider(secured, provider, USERS["root"])
    asyncio.run(declare(url, topic))
    asyncio.run(send(url, topic))
    assert asyncio.run(receive(url, topic)) == Message(b"data", "key", {"name": "value"})
    assert provider.forms[0] == {"grant_type": ["client_credentials"], "scope": ["kafka"]}


def test_provider_that_gives_no_token_is_an_access_error(secured, topic, provider):
    error = refusal(declare(url_by_provider(secured, provider, WRONG), topic))
    assert isinstance(error, AccessError)
    assert WRONG not in str(error)


# ACLs, as the page on Kafka lists them


def rules_of_sender(topic):
    return [(ResourceType.TOPIC, topic, AclOperation.WRITE)]


def rules_of_receiver(topic):
    return [
        (ResourceType.TOPIC, topic, AclOperation.READ),
        (ResourceType.GROUP, f"{topic}.workers", AclOperation.READ),
        (ResourceType.TOPIC, f"{topic}.workers.dead", AclOperation.WRITE),
    ]


def rules_of_founder(topic):
    dead = f"{topic}.workers.dead"
    return [
        (ResourceType.TOPIC, topic, AclOperation.READ, AclOperation.CREATE),
        (ResourceType.GROUP, f"{topic}.workers", AclOperation.READ),
        (ResourceType.TOPIC, dead, AclOperation.READ, AclOperation.CREATE),
        (ResourceType.GROUP, f"{dead}.dead-letters", AclOperation.READ),
    ]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_documented_permissions_suffice(secured, topic, protocol):
    secured.allow("founder", *rules_of_founder(topic))
    secured.allow("sender", *rules_of_sender(topic))
    secured.allow("receiver", *rules_of_receiver(topic))
    asyncio.run(declare(secured.url("founder"), topic))
    asyncio.run(declare(secured.url("founder"), topic))
    asyncio.run(send(secured.url("sender"), topic))
    asyncio.run(send(secured.url("sender"), topic))
    url = secured.url("receiver", group_protocol=protocol)
    assert asyncio.run(receive(url, topic)) == Message(b"data", "key", {"name": "value"})
    asyncio.run(reject(url, topic))


def without(rules, number):
    return [*rules[:number], *rules[number + 1 :]]


def test_receiver_with_permission_for_it_sets_the_deadline(secured, topic):
    asyncio.run(declare(secured.url("root"), topic))
    secured.allow(
        "receiver",
        *rules_of_receiver(topic),
        (ResourceType.GROUP, f"{topic}.workers", AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS),
        (ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE_CONFIGS),
    )

    async def in_force():
        async with (
            connect(secured.url("receiver")) as bus,
            bus.subscribe(topic, "workers", ack_deadline=2.0) as subscription,
        ):
            return subscription.ack_deadline

    assert asyncio.run(in_force()) == 2.0


@pytest.mark.parametrize("number", [0, 1])
def test_receiver_without_a_permission_is_refused(secured, topic, number):
    asyncio.run(declare(secured.url("root"), topic))
    secured.allow("receiver", *without(rules_of_receiver(topic), number))
    assert isinstance(refusal(receive(secured.url("receiver"), topic)), AccessError)


def test_receiver_that_may_only_look_at_the_topic_is_refused(secured, topic):
    asyncio.run(declare(secured.url("root"), topic))
    asyncio.run(send(secured.url("root"), topic))
    may_look = (ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    secured.allow("receiver", may_look, (ResourceType.GROUP, f"{topic}.workers", AclOperation.READ))
    error = refusal(receive(secured.url("receiver"), topic))
    assert isinstance(error, AccessError)
    assert "ACLs" in str(error)


def test_reject_without_permission_for_the_dead_letters_is_refused(secured, topic):
    asyncio.run(declare(secured.url("root"), topic))
    asyncio.run(send(secured.url("root"), topic))
    secured.allow("receiver", *without(rules_of_receiver(topic), 2))
    assert isinstance(refusal(reject(secured.url("receiver"), topic)), AccessError)


@pytest.mark.parametrize(
    "rules_of", [lambda _: [], lambda topic: [(ResourceType.TOPIC, topic, AclOperation.DESCRIBE)]], ids=["none", "look"]
)
def test_sender_without_permission_to_write_is_refused(secured, topic, rules_of):
    asyncio.run(declare(secured.url("root"), topic))
    secured.allow("sender", (ResourceType.TOPIC, f"{topic}-2", AclOperation.WRITE), *rules_of(topic))
    error = refusal(send(secured.url("sender"), topic))
    assert isinstance(error, AccessError)
    assert "ACLs" in str(error)


@pytest.mark.parametrize("number", range(4))
def test_declaration_without_a_permission_is_refused(secured, topic, number):
    secured.allow("founder", *without(rules_of_founder(topic), number))
    assert isinstance(refusal(declare(secured.url("founder"), topic)), AccessError)


# Nothing secret anywhere


def told(work):
    """Give what a failure tells, with the local variables of all frames."""
    try:
        asyncio.run(work)
    except MessagingError as error:
        return list(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return []


@pytest.mark.parametrize("secret", [None, WRONG])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_secret_is_shown_even_when_librdkafka_tells_all(secured, topic, mechanism, secret, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = secured.url("root", mechanism, secret=secret, **{"rdkafka.debug": "all"})
    shown = [line for verb in (declare, send, receive) for line in told(verb(url, topic))]
    bus = connect(url)
    shown += [repr(bus), repr(vars(bus)), repr(vars(bus._driver)), repr(bus._driver._settings), caplog.text]
    shown += capfd.readouterr()
    key = (secured.folder / "root.key").read_text().splitlines()[1]
    secrets = [*USERS.values(), WRONG, key] + [path.read_text() for path in secured.folder.glob("secret-*")]
    secrets += [base64.b64encode(secret.encode()).decode() for secret in secrets]
    assert len(caplog.records) > 100
    text = "\n".join(shown)
    assert not [word for word in secrets if word in text]
