"""As whom Pub/Sub is asked, from Google's own kinds of files; the token services are ten lines of our own."""

import asyncio
import base64
import gc
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError, TransportError
from google.pubsub_v1 import types

from visionbus.messaging import AccessError, UnavailableError, connect
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.pubsub import connection, credentials
from visionbus.messaging.drivers.pubsub.credentials import Authority
from visionbus.messaging.drivers.pubsub.errors import Unauthorized, translated
from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

ACCOUNT = "sender@my-project.iam.gserviceaccount.com"
OTHER = "other@my-project.iam.gserviceaccount.com"
TOKEN = "ya29.secret-token"
PROGRAM = """
import asyncio
from visionbus.messaging import connect

async def declare(url):
    async with connect(url) as bus:
        await bus.declare("images")

asyncio.run(declare({url!r}))
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine without an emulator and without credentials in the usual places."""
    for name in ("PUBSUB_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def account_file(tmp_path, private_key):
    path = tmp_path / "account.json"
    content = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": ACCOUNT,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def workload_file(tmp_path, monkeypatch):
    (tmp_path / "subject").write_text("subject-secret")
    path = tmp_path / "workload.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    content = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/mine",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    path.write_text(json.dumps(content))
    return path


@dataclass
class TokenService:
    """Stands for the network: notes what it is asked, and answers with a token, or what it is told to."""

    asked: list = field(default_factory=list)
    status: int = 200
    error: Exception | None = None
    headers: dict = field(default_factory=dict)
    data: bytes = b""

    def __call__(self, url=None, method="GET", body=None, headers=None, timeout=None, **_):
        if self.error:
            raise self.error
        self.headers, self.data = {}, b"{}"
        if not url.endswith(("/v1/token", ":generateAccessToken")):  # Google's library asks this and that besides
            return replace(self, status=404)
        self.asked.append((url, headers))
        ends = (datetime.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ005 (any)
        self.data = json.dumps(
            {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer", "issued_token_type": "x"}
            | {"accessToken": TOKEN, "expireTime": ends}
            if self.status == 200
            else {"error": "invalid_grant", "error_description": "no such account"}
        ).encode()
        return replace(self)


@pytest.fixture
def network(monkeypatch):
    service = TokenService()
    monkeypatch.setattr(credentials, "Request", lambda: service)
    return service


def authority(parameters=""):
    return Authority(PubsubSettings.parse(Address.parse(f"pubsub://my-project{parameters}")))


def metadata(parameters=""):
    return dict(asyncio.run(authority(parameters).metadata(30.0)))


def claims(authorization):
    payload = authorization.removeprefix("Bearer ").split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))


def test_service_account_signs_its_own_tokens(account_file, network):
    said = claims(metadata(f"?credentials={account_file}")["authorization"])
    assert (said["iss"], said["scope"]) == (ACCOUNT, "https://www.googleapis.com/auth/pubsub")
    assert network.asked == []


def test_file_that_the_environment_names_is_taken(account_file, network, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account_file))
    assert claims(metadata()["authorization"])["iss"] == ACCOUNT


def test_workload_identity_exchanges_its_token(workload_file, network):
    assert metadata()["authorization"] == f"Bearer {TOKEN}"
    assert [url for url, _ in network.asked] == ["https://sts.googleapis.com/v1/token"]


def test_impersonation_asks_for_the_other_accounts_token(account_file, network):
    said = metadata(f"?credentials={account_file}&impersonate={OTHER}")
    assert said["authorization"] == f"Bearer {TOKEN}"
    ((url, headers),) = network.asked
    assert OTHER in url
    assert claims({name.lower(): value for name, value in headers.items()}["authorization"])["iss"] == ACCOUNT


def test_emulator_gets_no_credentials(account_file, network, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")
    assert metadata(f"?credentials={account_file}") == {}


def test_token_is_asked_for_once_and_renewed_before_it_ends(workload_file, network):
    async def ask():
        one = authority()
        await asyncio.gather(*(one.metadata(30.0) for _ in range(5)))
        asked = len(network.asked)
        one._credentials.expiry -= timedelta(hours=1)
        await asyncio.gather(*(one.metadata(30.0) for _ in range(5)))
        return asked, len(network.asked)

    assert asyncio.run(ask()) == (1, 2)


@pytest.fixture
def gate(network, monkeypatch):
    """What the token service waits for before it answers."""
    opened = threading.Event()

    def answer(**asked):
        opened.wait(30)
        return network(**asked)

    monkeypatch.setattr(credentials, "Request", lambda: answer)
    yield opened
    opened.set()


def test_renewal_goes_on_for_the_others_when_one_has_waited_too_long(workload_file, network, gate):
    async def ask():
        one = authority()
        patient = asyncio.create_task(one.metadata(30.0))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await one.metadata(0.05)
        gate.set()
        return await patient

    assert dict(asyncio.run(ask()))["authorization"] == f"Bearer {TOKEN}"
    assert len(network.asked) == 1


def test_renewal_that_fails_when_nobody_waits_any_more_is_made_again(workload_file, network, gate, caplog):
    network.error = TransportError("no route")

    async def ask():
        one = authority()
        with pytest.raises(TimeoutError):
            await one.metadata(0.05)
        renewing = one._renewing
        gate.set()
        await asyncio.wait([renewing])
        del renewing
        network.error = None
        return await one.metadata(30.0)

    assert dict(asyncio.run(ask()))["authorization"] == f"Bearer {TOKEN}"
    gc.collect()  # an exception that nobody had looked at would be logged now
    assert "never retrieved" not in caplog.text


def test_stream_does_not_wait_for_a_token_without_end(workload_file, gate, monkeypatch):
    monkeypatch.setattr(connection, "TOKEN", 0.05)

    async def ask():
        one = connection.Connection(PubsubSettings.parse(Address.parse("pubsub://my-project")))
        with pytest.raises(TimeoutError):
            await one.stream("projects/my-project/subscriptions/images.workers")
        gate.set()
        await one.close()

    asyncio.run(ask())


def test_no_credentials_at_all_are_told_with_googles_cure():
    with pytest.raises(Unauthorized) as caught:
        metadata()
    error = translated(caught.value, "sending to 'images'")
    assert isinstance(error, AccessError)
    assert "default credentials were not found" in str(error)


def test_file_of_the_environment_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))  # a folder
    with pytest.raises(Unauthorized, match="the credentials cannot be read") as caught:
        metadata()
    assert isinstance(translated(caught.value, "declaring"), AccessError)


@pytest.mark.parametrize(
    "content", ["[]", "null", '{"type": "impersonated_service_account"}', '{"type": "external_account"}']
)
def test_file_of_the_environment_of_an_unknown_form_is_told(tmp_path, monkeypatch, content):
    path = tmp_path / "account.json"
    path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(Unauthorized) as caught:
        metadata()
    assert isinstance(translated(caught.value, "declaring"), AccessError)


def test_program_does_not_wait_at_its_end_for_a_token_service_that_is_silent(workload_file):
    waiting = """
import asyncio, socket, sys, json
from visionbus.messaging import UnavailableError, connect

async def send(url):
    async with connect(url) as bus:
        await bus.declare("images")

with socket.create_server(("127.0.0.1", 0)) as silent:
    with open(sys.argv[1]) as file:
        account = json.load(file)
    account["credential_source"] = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}
    with open(sys.argv[1], "w") as file:
        json.dump(account, file)
    try:
        asyncio.run(asyncio.wait_for(send("pubsub://my-project"), 2.0))
    except TimeoutError:
        print("not waited for")
"""
    environment = os.environ | {"GOOGLE_APPLICATION_CREDENTIALS": str(workload_file)}
    command = [sys.executable, "-c", waiting, str(workload_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=40, check=True)
    assert done.stdout == "not waited for\n"


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"type": "service_account", "private_key": "hunter2"}'])
def test_file_that_is_none_is_told_and_not_repeated(tmp_path, content):
    path = tmp_path / "account.json"
    if content:
        path.write_text(content)
    with pytest.raises(Unauthorized) as caught:
        metadata(f"?credentials={path}")
    error = translated(caught.value, "declaring")
    assert isinstance(error, AccessError)
    assert f"credentials={path} in the pubsub URL is no key file" in str(error)
    assert "hunter2" not in str(error)


def test_refused_token_is_an_error_that_is_not_tried_again(workload_file, network):
    network.status = 400
    with pytest.raises(Unauthorized, match="invalid_grant") as caught:
        metadata()
    assert isinstance(translated(caught.value, "declaring"), AccessError)


@pytest.mark.parametrize("error", [TransportError("no route"), RefreshError("later", retryable=True)])
def test_token_service_that_is_away_may_come_back(workload_file, network, error):
    network.error = error
    with pytest.raises(Unauthorized) as caught:
        metadata()
    assert isinstance(translated(caught.value, "declaring"), UnavailableError)


def test_nothing_secret_is_shown(workload_file, account_file, private_key, network, caplog):
    caplog.set_level(logging.DEBUG)
    shown = []

    async def ask(parameters, status):
        network.status = status
        async with connect(f"pubsub://my-project{parameters}&send_timeout=0.5&endpoint=127.0.0.1:1") as bus:
            with pytest.raises((AccessError, UnavailableError)) as caught:
                await bus.declare("images")
            error = caught.value
            while error is not None:
                shown.extend((str(error), repr(error)))
                error = error.__cause__ or error.__context__
            driver = bus._driver
            inside = (driver, driver._settings, driver._connection, driver._connection._authority)
            shown.extend(map(repr, inside))

    for status in (200, 400):
        asyncio.run(ask("?linger=0", status))
    asyncio.run(ask(f"?credentials={account_file}", 200))
    text = "\n".join([*shown, caplog.text])
    assert "my-project" in text
    for secret in (TOKEN, "subject-secret", private_key.splitlines()[1], "eyJ"):
        assert secret not in text


class Guard(grpc.GenericRpcHandler):
    """Answers every call with a topic, and notes as whom it was asked."""

    def __init__(self):
        self.seen = []

    def service(self, details):
        self.seen.append(dict(details.invocation_metadata))
        return grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: types.Topic.pb()(name="x"), None, lambda answer: answer.SerializeToString()
        )


@pytest.mark.slow
def test_service_gets_the_token_over_tls(account_file, tmp_path):
    """Google's certificate is replaced by ours, in a program of its own: gRPC reads it once."""
    authority_ = trustme.CA()
    certificate = authority_.issue_cert("localhost")
    authority_.cert_pem.write_to_path(tmp_path / "roots.pem")
    chain = b"".join(one.bytes() for one in certificate.cert_chain_pems)
    guard = Guard()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, [guard])
        port = server.add_secure_port(
            "localhost:0", grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
        )
        server.start()
        program = PROGRAM.format(url=f"pubsub://my-project?credentials={account_file}&endpoint=localhost:{port}")
        roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "roots.pem")}
        subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | roots, timeout=60)
        server.stop(None).wait()
    first = guard.seen[0]
    assert claims(first["authorization"])["iss"] == ACCOUNT
    assert first["x-goog-request-params"] == "topic=projects/my-project/topics/images"
