"""What a pubsub URL may say."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from visionbus.messaging import connect
from visionbus.messaging.driver import BUS_PARAMETERS, Address
from visionbus.messaging.drivers.pubsub.settings import DAY, EMULATOR, NEVER, PARAMETERS, SECRETS, PubsubSettings


@pytest.fixture(autouse=True)
def no_emulator(monkeypatch):
    monkeypatch.delenv(EMULATOR, raising=False)


def settings(url):
    return PubsubSettings.parse(Address.parse(url))


def test_project_alone_will_do():
    assert settings("pubsub://my-project") == PubsubSettings("my-project")


def test_every_parameter_is_understood():
    said = settings(
        "pubsub://my-project?credentials=/etc/key.json&endpoint=europe-west1-pubsub.googleapis.com&expiration=2678400"
        "&filter=attributes.kind%20%3D%20%22a%22&impersonate=one@p.iam.gserviceaccount.com,two@p.iam.gserviceaccount.com"
        "&linger=0.01&names=verbatim&prefetch_bytes=1000000&retention=3600&send_timeout=5&streams=2"
    )
    assert said == PubsubSettings(
        "my-project",
        endpoint="europe-west1-pubsub.googleapis.com:443",
        credentials="/etc/key.json",
        impersonate=("one@p.iam.gserviceaccount.com", "two@p.iam.gserviceaccount.com"),
        verbatim_names=True,
        streams=2,
        prefetch_bytes=1_000_000,
        send_timeout=5.0,
        linger=0.01,
        retention=3600.0,
        expiration=31 * DAY,
        filter='attributes.kind = "a"',
    )


def test_docs_have_every_parameter_and_its_default():
    text = (Path(__file__).parents[4] / "docs" / "pubsub.md").read_text(encoding="utf-8")
    section = text.partition("## Parameters")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]*?) *\|", section, re.MULTILINE))
    assert table.keys() == PARAMETERS | BUS_PARAMETERS
    defaults = {field.name: str(field.default) for field in fields(PubsubSettings) if field.name in table}
    for name in ("linger", "prefetch_bytes", "retention", "send_timeout", "streams"):
        assert table[name] == defaults[name].removesuffix(".0")
    assert f"{table['endpoint'].strip('`')}:443" == defaults["endpoint"]
    assert table["expiration"] == "`never`"
    assert defaults["expiration"] == str(NEVER)


@pytest.mark.parametrize("project", ["my-project", "example.com:my-project", "123456789012"])
def test_project_is_called_as_google_allows(project):
    assert settings(f"pubsub://{project}").topic_path("images") == f"projects/{project}/topics/images"


@pytest.mark.parametrize("url", ["pubsub://", "pubsub://a", "pubsub://my project", "pubsub://-x-", "pubsub://my:8080"])
def test_what_is_no_project_is_refused(url):
    with pytest.raises(ValueError, match="names no project: write pubsub://my-project"):
        settings(url)


def test_path_is_refused():
    with pytest.raises(ValueError, match="has no path"):
        settings("pubsub://my-project/topics")


def test_never_is_the_usual_expiration():
    assert settings("pubsub://my-project?expiration=never").expiration == NEVER == PubsubSettings("p").expiration


@pytest.mark.parametrize(
    ("parameter", "complaint"),
    [
        ("streams=0", "a whole number from 1 to 64"),
        ("streams=many", "a whole number from 1 to 64"),
        ("retention=60", "seconds from 600 to 2678400"),
        ("retention=nan", "seconds from 600"),
        ("expiration=5", "seconds from 86400"),
        ("expiration=86400", "must be at least retention=604800"),
        ("send_timeout=0", "seconds from 0.1"),
        ("linger=30", "must be less than send_timeout=30"),
        ("names=bare", "known: verbatim"),
        ("endpoint=https://x", "give a host"),
        ("endpoint=host:99999", "give a host"),
        ("impersonate=me", "e-mail address of a service account"),
        (f"filter={'x' * 257}", "more than 256 bytes"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_the_cure(parameter, complaint):
    with pytest.raises(ValueError, match=complaint):
        settings(f"pubsub://my-project?{parameter}")


def test_unknown_parameter_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown parameter 'stream' in the pubsub URL; known: .*streams"):
        connect("pubsub://my-project?stream=2")


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secret_is_refused_and_not_repeated(name):
    with pytest.raises(ValueError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        connect(f"pubsub://my-project?{name}=hunter2")
    assert "hunter2" not in str(caught.value)


def test_emulator_of_the_environment_is_taken(monkeypatch):
    monkeypatch.setenv(EMULATOR, "127.0.0.1:8085")
    assert settings("pubsub://my-project").emulator == "127.0.0.1:8085"


def test_secret_in_an_address_or_in_the_place_of_a_path_is_not_repeated(monkeypatch):
    with pytest.raises(ValueError, match="is the path of a key file, not what is in it") as caught:
        settings('pubsub://my-project?credentials={"private_key": "hunter2"}')
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "http://user:hunter2@host")
    with pytest.raises(ValueError, match="is no address") as caught:
        settings("pubsub://my-project")
    assert "hunter2" not in str(caught.value)


def test_emulator_that_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:8085/x")
    with pytest.raises(ValueError, match=r"PUBSUB_EMULATOR_HOST=.* is no address: write host:port"):
        settings("pubsub://my-project")


def test_empty_emulator_is_none(monkeypatch):
    monkeypatch.setenv(EMULATOR, "")
    assert settings("pubsub://my-project").emulator is None


def test_subscriptions_are_called_by_their_topic_unless_names_are_verbatim():
    path = "projects/my-project/subscriptions/"
    assert settings("pubsub://my-project").subscription_path("images", "workers") == f"{path}images.workers"
    verbatim = settings("pubsub://my-project?names=verbatim")
    assert verbatim.subscription_path("images", "workers") == f"{path}workers"
