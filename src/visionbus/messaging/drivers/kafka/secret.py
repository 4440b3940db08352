"""Where a secret is kept: in the environment or in a file, and never in a URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from visionbus.messaging.errors import AccessError


class Secret(str):
    """A text that does not show itself in reprs: of configurations, of tracebacks with local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """The place of a secret. It is read anew each time, so that a rotated one is found."""

    where: str  # for the reader of an error: the environment variable, or the parameter, that names it
    variable: str | None = None
    path: Path | None = None

    @classmethod
    def find(cls, variable: str, parameter: str, given: str | None) -> Self | None:
        """Return the source of a secret, or None if there is none.

        `given` is the file that the URL parameter `parameter` names. It comes before the environment variable
        `variable` and before `<variable>_FILE`. `ValueError` if both of these are set, or the secret cannot be read.
        """
        in_environment = [name for name in (variable, f"{variable}_FILE") if os.environ.get(name)]
        source = None
        if given is not None:
            source = cls(parameter, path=_path(given, parameter))
        elif len(in_environment) > 1:
            raise ValueError(f"{variable} and {variable}_FILE are both set: keep one")
        elif in_environment == [variable]:
            source = cls(variable, variable=variable)
        elif in_environment:
            name = f"{variable}_FILE"
            source = cls(name, path=_path(os.environ[name], name))
        if source is not None:
            source.read()
        return source

    def now(self) -> Secret:
        """Return the secret as it is now; `AccessError` if it cannot be read any more."""
        try:
            return self.read()
        except ValueError as error:
            raise AccessError(str(error)) from None

    def read(self) -> Secret:
        """Return the secret, without the line ends of a file; `ValueError` if there is none."""
        if self.path is None:
            secret = os.environ.get(self.variable or "", "")
            if not secret:
                raise ValueError(f"the environment variable {self.where} is no longer set: set it again")
            return Secret(secret)
        try:
            secret = self.path.read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(
                f"{self.where} names a file that cannot be read ({error.strerror}): {str(self.path)!r}"
            ) from None
        except UnicodeDecodeError:  # it quotes what it could not decode
            raise ValueError(f"the file that {self.where} names is not UTF-8 text: {str(self.path)!r}") from None
        if not secret:
            raise ValueError(f"the file that {self.where} names is empty: {str(self.path)!r}")
        return Secret(secret)


def _path(text: str, where: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(f"{where} names no file: give the path of one that holds the secret")
    return Path(text).absolute()
