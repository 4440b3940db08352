"""As whom Pub/Sub is asked: Google's credentials as the metadata of calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import with_scopes_if_required
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from visionbus.messaging.drivers.pubsub.errors import Unauthorized

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

Metadata = tuple[tuple[str, str], ...]
SCOPE = "https://www.googleapis.com/auth/pubsub"
_IMPERSONATING = "https://www.googleapis.com/auth/cloud-platform"  # what making tokens for others takes
_LIFE = 3600  # seconds, of a token for another


class Authority:
    """The credentials of one connection: found when first needed, renewed in a thread when a token is about to end.

    One renewal serves all who wait, and goes on when one of them has waited too long: a thread cannot be cancelled.
    """

    def __init__(self, settings: PubsubSettings) -> None:
        self._settings = settings
        self._credentials: Credentials | None = None
        self._renewing: asyncio.Future[None] | None = None

    async def metadata(self, timeout: float) -> Metadata:
        """Return what makes a call ours; nothing for the emulator.

        Raises `Unauthorized`, or `TimeoutError` after so many seconds.
        """
        if self._settings.emulator:
            return ()
        if self._credentials is None or not self._credentials.valid:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._renewal())
        headers: dict[str, str] = {}
        if self._credentials is not None:
            self._credentials.apply(headers)
        return tuple((name.lower(), value) for name, value in headers.items())

    def _renewal(self) -> asyncio.Future[None]:
        """Return the renewal that is on its way, or begin one."""
        if self._renewing is None:
            loop = asyncio.get_running_loop()
            renewing: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._renewing = asyncio.wrap_future(renewing, loop=loop)
            self._renewing.add_done_callback(self._renewed)
            # No thread of the executor: the program's end would wait for a token service that does not answer.
            threading.Thread(target=self._renew, args=(renewing,), name="pubsub-token", daemon=True).start()
        return self._renewing

    def _renewed(self, renewing: asyncio.Future[None]) -> None:
        self._renewing = None
        if not renewing.cancelled():
            renewing.exception()  # is looked at, though nobody may wait any more

    def _renew(self, renewing: concurrent.futures.Future[None]) -> None:
        failure: Unauthorized | None = None
        try:
            if self._credentials is None:
                self._credentials = find(self._settings)
            if not self._credentials.valid:
                self._credentials.refresh(Request())
        except (GoogleAuthError, OSError) as error:
            failure = Unauthorized(error)  # whose other arguments may repeat what the token service was sent
        except Exception as error:  # noqa: BLE001 (Google's library raises anything for files that are not as it expects)
            failure = Unauthorized(GoogleAuthError(f"credentials of no form that is known ({type(error).__name__})"))
        with suppress(RuntimeError, concurrent.futures.InvalidStateError):  # the loop is closed, or nobody waits
            if failure is None:
                renewing.set_result(None)
            else:
                renewing.set_exception(failure)


def find(settings: PubsubSettings) -> Credentials:
    """Return credentials: of the service account whose file the URL names, or of the usual places, and for another.

    The usual places are those of Google's libraries: GOOGLE_APPLICATION_CREDENTIALS (workload identity's file, too),
    gcloud's, and the machine's own.
    """
    scope = _IMPERSONATING if settings.impersonate else SCOPE
    if settings.credentials:
        found = _of_file(settings.credentials)
    else:
        found, _ = google.auth.default(scopes=[scope], request=Request())
    credentials: Credentials = with_scopes_if_required(found, [scope])
    if isinstance(credentials, service_account.Credentials):
        credentials = credentials.with_always_use_jwt_access(True)  # noqa: FBT003 (signed here: no token service is asked)
    if not settings.impersonate:
        return credentials
    *delegates, target = settings.impersonate
    return impersonated_credentials.Credentials(
        credentials, target_principal=target, target_scopes=[SCOPE], delegates=delegates or None, lifetime=_LIFE
    )


def _of_file(path: str) -> Credentials:
    try:
        return service_account.Credentials.from_service_account_file(path)
    except Exception as error:  # noqa: BLE001 (the same)
        what = error.strerror if isinstance(error, OSError) else "it is not of that form"
        raise GoogleAuthError(
            f"credentials={path} in the pubsub URL is no key file of a service account ({what}): files of another kind "
            "are named in GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
