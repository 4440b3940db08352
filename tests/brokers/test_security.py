import pytest

from visionbus.brokers.security import Security


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    return path


def test_key_that_kafka_cannot_read_is_refused(key):
    key.write_text("-----BEGIN EC PRIVATE KEY-----\n")
    with pytest.raises(ValueError, match="no PKCS#8 key"):
        Security(key, key, key)


@pytest.mark.parametrize("user", [("a b", "x"), ("", "x"), ("a", ""), ("a", "x,y"), ("a", 'x"'), ("a", "ü")])
def test_user_whom_the_tools_of_kafka_cannot_make_is_refused(key, user):
    with pytest.raises(ValueError, match="cannot be"):
        Security(key, key, key, dict([user]))


def test_passwords_are_not_in_the_repr(key):
    assert "secret" not in repr(Security(key, key, key, {"alice": "secret"}))


def test_only_the_mechanisms_that_are_asked_for_are_offered(key):
    security = Security(key, key, key, {"alice": "secret"}, mechanisms=("PLAIN",))
    properties = security.properties(key)
    assert properties["listener.name.sasl.sasl.enabled.mechanisms"] == "PLAIN"
    assert not [name for name in properties if "scram" in name or "oauth" in name]
    assert security.scram_arguments() == []
