"""How a Kafka client proves who it is, and whom it trusts: TLS and SASL, from URL parameters and kept secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from visionbus.messaging.drivers.kafka.secret import SecretSource
from visionbus.messaging.drivers.kafka.tokens import current, oauth_token

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

# URL parameters of what is public: each is the librdkafka setting with dots for underscores.
_PUBLIC = (
    "sasl_username",
    "sasl_oauthbearer_token_endpoint_url",
    "sasl_oauthbearer_client_id",
    "sasl_oauthbearer_scope",
    "ssl_ca_location",
    "ssl_certificate_location",
    "ssl_key_location",
    "ssl_endpoint_identification_algorithm",
)
# Secrets: the librdkafka setting, and the environment variable. A URL parameter `..._file` may name a file instead.
_VARIABLES = {
    "sasl.password": "VISIONBUS_KAFKA_PASSWORD",
    "sasl.oauthbearer.client.secret": "VISIONBUS_KAFKA_CLIENT_SECRET",
    "sasl.oauthbearer.token": "VISIONBUS_KAFKA_TOKEN",  # not a setting: it goes through a callback
    "sasl.oauthbearer.assertion.private.key.passphrase": "VISIONBUS_KAFKA_ASSERTION_KEY_PASSWORD",
    "ssl.key.password": "VISIONBUS_KAFKA_KEY_PASSWORD",
    "ssl.keystore.password": "VISIONBUS_KAFKA_KEYSTORE_PASSWORD",
}
_USERNAME = "VISIONBUS_KAFKA_USERNAME"


def _parameter(setting: str) -> str:
    return setting.replace(".", "_")


PARAMETERS = frozenset(
    {"security_protocol", "sasl_mechanism", *_PUBLIC, *(f"{_parameter(setting)}_file" for setting in _VARIABLES)}
)
SECRETS: Mapping[str, str] = {  # what may not stand in a URL, and the cure
    _parameter(
        setting
    ): f"set {variable} or {variable}_FILE in the environment, or name a file: {_parameter(setting)}_file="
    for setting, variable in _VARIABLES.items()
}


@dataclass(frozen=True, slots=True)
class Security:
    """What a client needs for TLS and SASL. Secrets are not in it, only the places where they are kept."""

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    public: Mapping[str, str] = field(default_factory=dict)  # librdkafka settings
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)  # by librdkafka setting
    token: SecretSource | None = None  # of OAUTHBEARER, made elsewhere

    @classmethod
    def parse(cls, parameters: Mapping[str, str], rdkafka: Mapping[str, str]) -> Security:
        """Take the parameters of a URL and its further librdkafka settings; `ValueError` for what does not fit."""
        protocol = _one_of(parameters, "security_protocol", PROTOCOLS) or "PLAINTEXT"
        mechanism = _one_of(parameters, "sasl_mechanism", MECHANISMS)
        _check_pair(protocol, mechanism)
        usable = _usable(protocol, mechanism)
        _refuse_unused(parameters, usable, protocol, mechanism)
        public = {name.replace("_", "."): parameters[name] for name in _PUBLIC if name in parameters}
        if "sasl_username" in usable and "sasl.username" not in public and os.environ.get(_USERNAME):
            public["sasl.username"] = os.environ[_USERNAME]
        secrets = _sources(parameters, usable)
        token = secrets.pop("sasl.oauthbearer.token", None)
        security = cls(protocol, mechanism, public, secrets, token)
        if protocol.endswith("SSL"):
            _check_tls(security)
        if mechanism == "OAUTHBEARER":
            return _with_oauth_method(security, rdkafka)
        if mechanism is not None:
            _check_credentials(security)
        return security

    def client(self) -> dict[str, Any]:
        """Return the settings for librdkafka, the secrets read anew.

        `AccessError` if one cannot be read any more, or the token has ended.
        """
        settings: dict[str, Any] = {"security.protocol": self.protocol, **self.public}
        if self.mechanism is not None:
            settings["sasl.mechanism"] = self.mechanism
        settings |= {setting: source.now() for setting, source in self.secrets.items()}
        if self.token is not None:
            current(self.token)  # without one, librdkafka would wait for 10 s
            settings["oauth_cb"] = partial(oauth_token, self.token)
        return settings


def _one_of(parameters: Mapping[str, str], name: str, known: tuple[str, ...]) -> str | None:
    value = parameters.get(name)
    if value is None:
        return None
    if value.upper() not in known:
        raise ValueError(f"{name}={value!r} in the kafka URL; known: {', '.join(known)}")
    return value.upper()


def _check_pair(protocol: str, mechanism: str | None) -> None:
    sasl = protocol.startswith("SASL")
    if mechanism is not None and not sasl:
        raise ValueError(
            f"sasl_mechanism={mechanism} in the kafka URL has no effect with {protocol}:"
            " add security_protocol=SASL_SSL (or SASL_PLAINTEXT, which does not encrypt)"
        )
    if mechanism is None and sasl:
        raise ValueError(
            f"security_protocol={protocol} in the kafka URL needs a sasl_mechanism; known: {', '.join(MECHANISMS)}"
        )


def _usable(protocol: str, mechanism: str | None) -> frozenset[str]:
    """Return the parameters that have an effect."""
    wanted = ["security_protocol", "sasl_mechanism"]
    if protocol.endswith("SSL"):
        wanted += [name for name in PARAMETERS if name.startswith("ssl_")]
    if mechanism == "OAUTHBEARER":
        wanted += [name for name in PARAMETERS if name.startswith("sasl_oauthbearer_")]
    elif mechanism is not None:
        wanted += ["sasl_username", "sasl_password_file"]
    return frozenset(wanted)


def _refuse_unused(parameters: Mapping[str, str], usable: frozenset[str], protocol: str, mechanism: str | None) -> None:
    for name in sorted(PARAMETERS & parameters.keys() - usable):
        now = f"security_protocol={protocol}" + (f"&sasl_mechanism={mechanism}" if mechanism else "")
        cure = "security_protocol" if name.startswith("ssl_") else "security_protocol and sasl_mechanism"
        raise ValueError(f"{name} in the kafka URL has no effect with {now}: remove it, or set {cure} to fit")


def _sources(parameters: Mapping[str, str], usable: frozenset[str]) -> dict[str, SecretSource]:
    found = {}
    for setting, variable in _VARIABLES.items():
        parameter = f"{_parameter(setting)}_file"
        if parameter in usable:
            source = SecretSource.find(variable, parameter, parameters.get(parameter))
            if source is not None:
                found[setting] = source
    return found


def _check_tls(security: Security) -> None:
    public = security.public
    for setting in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"):
        path = public.get(setting)
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"{_parameter(setting)} names a file that is not there or cannot be read: {path!r}")
    pair = {"ssl.certificate.location", "ssl.key.location"}
    if len(pair & public.keys()) == 1:
        missing = _parameter(*(pair - public.keys()))
        raise ValueError(f"a client certificate is a pair: add {missing}= to the kafka URL (one file may hold both)")
    algorithm = public.get("ssl.endpoint.identification.algorithm")
    if algorithm not in (None, "https", "none"):
        raise ValueError(f"ssl_endpoint_identification_algorithm={algorithm!r} in the kafka URL; known: https, none")


def _check_credentials(security: Security) -> None:
    if not security.public.get("sasl.username"):
        raise ValueError(f"{security.mechanism} needs a user: add sasl_username= to the kafka URL, or set {_USERNAME}")
    if "sasl.password" not in security.secrets:
        raise ValueError(f"{security.mechanism} needs a password: {SECRETS['sasl_password']}")


def _with_oauth_method(security: Security, rdkafka: Mapping[str, str]) -> Security:
    """Return the security with its way to a token: one that is kept, or an OpenID Connect provider's."""
    endpoint = security.public.get("sasl.oauthbearer.token.endpoint.url")
    if security.token is not None:
        if endpoint is not None:
            raise ValueError(
                f"{security.token.where} and sasl_oauthbearer_token_endpoint_url are two ways to a token: keep one"
            )
        return security
    if rdkafka.get("sasl.oauthbearer.method") == "oidc":  # a way of librdkafka's own: it checks what it needs
        return security
    if endpoint is None:
        raise ValueError(
            f"OAUTHBEARER needs a token: {SECRETS['sasl_oauthbearer_token']}; or give the provider that issues them:"
            " sasl_oauthbearer_token_endpoint_url= and sasl_oauthbearer_client_id="
        )
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("sasl_oauthbearer_token_endpoint_url is to be https://host/path, without a user or password")
    if not security.public.get("sasl.oauthbearer.client.id"):
        raise ValueError("OpenID Connect needs a client: add sasl_oauthbearer_client_id= to the kafka URL")
    if "sasl.oauthbearer.client.secret" not in security.secrets:
        raise ValueError(f"OpenID Connect needs a secret: {SECRETS['sasl_oauthbearer_client_secret']}")
    return replace(security, public={**security.public, "sasl.oauthbearer.method": "oidc"})
