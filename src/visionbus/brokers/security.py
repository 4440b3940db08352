"""Who may do what on a Kafka cluster: listeners with TLS, users with passwords, and an authorizer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MODULES = "org.apache.kafka.common.security"
_PLAIN = f"{_MODULES}.plain.PlainLoginModule"
_SCRAM = f"{_MODULES}.scram.ScramLoginModule"
_OAUTH = f"{_MODULES}.oauthbearer.OAuthBearerLoginModule"
_UNSECURED = f"{_MODULES}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"[!#-+\--Z^-~]+")  # what the tool that makes the users can take
_SCRAMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Security:
    """Two more listeners on each node: SASL over TLS, and TLS that wants a certificate of the client (mutual TLS).

    `certificate`: the server's, a PEM file with its chain, for the host 127.0.0.1; `key`: its private key, PKCS#8 in
    PEM (`BEGIN PRIVATE KEY`); `authority`: PEM of what signs clients' certificates. `users`: passwords by name, for
    PLAIN and SCRAM. `mechanisms`: what SASL offers; OAUTHBEARER takes unsigned tokens. A client with a certificate is
    the user that its common name says.

    Without an ACL a user may do nothing, unless he is of the `super_users`; the plain listener is there all the same,
    and whoever uses it may do all.
    """

    certificate: Path
    key: Path
    authority: Path
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    super_users: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ("PLAIN", *_SCRAMS, "OAUTHBEARER")

    def __post_init__(self) -> None:
        """Refuse what Kafka would refuse in more words."""
        if "BEGIN PRIVATE KEY" not in self.key.read_text(encoding="ascii"):
            raise ValueError(f"{self.key} is no PKCS#8 key (BEGIN PRIVATE KEY), which is all that Kafka reads in PEM")
        for name, password in self.users.items():
            if not (_NAME.fullmatch(name) and _PASSWORD.fullmatch(password)):
                raise ValueError(
                    f"the user {name!r} cannot be: a name is of letters, digits, - and _, and a password of "
                    'printable ASCII without space , " [ \\ ]'
                )

    def properties(self, keystore: Path) -> dict[str, str]:
        """Give the broker's properties; `keystore` is the PEM file with the key and the certificate."""
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": ",".join(self.mechanisms),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *self.super_users)),
        } | self._login_modules()

    def pem(self) -> str:
        """Give the content of the key store."""
        return self.key.read_text(encoding="ascii") + self.certificate.read_text(encoding="ascii")

    def scram_arguments(self) -> list[str]:
        """Give what the formatting of a node's storage is told, so that the users are known from the start."""
        return [
            word
            for mechanism in _SCRAMS
            if mechanism in self.mechanisms
            for name, password in self.users.items()
            for word in ("--add-scram", f'{mechanism}=[name="{name}",password="{password}"]')
        ]

    def _login_modules(self) -> dict[str, str]:
        passwords = "".join(f' user_{name}="{password}"' for name, password in self.users.items())
        modules = dict.fromkeys(_SCRAMS, f"{_SCRAM} required;") | {
            "PLAIN": f"{_PLAIN} required{passwords};",
            "OAUTHBEARER": f"{_OAUTH} required;",
        }
        properties = {_of("jaas.config", name): modules[name] for name in self.mechanisms}
        if "OAUTHBEARER" in self.mechanisms:
            properties[_of("server.callback.handler.class", "OAUTHBEARER")] = _UNSECURED
        return properties


def _of(setting: str, mechanism: str) -> str:
    return f"listener.name.sasl.{mechanism.lower()}.sasl.{setting}"
