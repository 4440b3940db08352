"""Whether those who are to use what was declared may do so, as far as IAM tells."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from google.iam.v1 import iam_policy_pb2
from grpc import StatusCode

from visionbus.messaging.drivers.pubsub.errors import CALL_ERRORS, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

log = logging.getLogger(__name__)

PUBLISH = ("pubsub.topics.publish", "roles/pubsub.publisher")  # a permission, and the role that grants it
CONSUME = ("pubsub.subscriptions.consume", "roles/pubsub.subscriber")
AGENT = "@gcp-sa-pubsub.iam.gserviceaccount.com"  # how Pub/Sub's own account in a project ends
_CALL = 10.0  # seconds for one question


class Grants:
    """Looks at the grants of topics and subscriptions, and tells in the log what is missing.

    Nothing is raised: who declares need not be who sends or receives, and may not be allowed to look; a grant on the
    whole project is not seen on a topic. The emulator knows no grants, and is asked once.
    """

    def __init__(self, connection: Connection, settings: PubsubSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._known = True  # whether there are any

    async def check(self, topic: str, subscriptions: Mapping[str, str | None]) -> None:
        """Look at a topic, its subscriptions, and what the backstop of their dead letters needs."""
        if not self._known or not await self._own(self._settings.topic_path(topic), *PUBLISH):
            return
        paths = {name: self._settings.subscription_path(topic, name) for name in subscriptions}
        backed = {paths[name]: self._settings.topic_path(dead) for name, dead in subscriptions.items() if dead}
        await asyncio.gather(
            *(self._own(path, *CONSUME) for path in paths.values()),
            *(self._agents(path, CONSUME[1]) for path in backed),
            *(self._agents(path, PUBLISH[1]) for path in backed.values()),
        )

    async def _own(self, resource: str, permission: str, role: str) -> bool:
        """Look for what our credentials are to have; return whether there are grants to look at."""
        request = iam_policy_pb2.TestIamPermissionsRequest(resource=resource, permissions=[permission])
        answer = await self._ask("TestIamPermissions", request)
        if answer is not None and permission not in answer.permissions:
            log.warning(
                "these credentials lack %s on %s: who sends or receives there needs %s", permission, resource, role
            )
        return answer is not None

    async def _agents(self, resource: str, role: str) -> None:
        """Look for a grant to Pub/Sub's own account, which forwards what no receiver lives to give up."""
        policy = await self._ask("GetIamPolicy", iam_policy_pb2.GetIamPolicyRequest(resource=resource))
        if policy is None:
            return
        members = {member for binding in policy.bindings if binding.role == role for member in binding.members}
        if not any(member.endswith(AGENT) for member in members):
            log.info(
                "Pub/Sub's own account, service-PROJECT_NUMBER%s, needs %s on %s, or on the project",
                AGENT,
                role,
                resource,
            )

    async def _ask(self, method: str, request: Message) -> Any:  # noqa: ANN401 (of two types)
        """Ask, and return the answer; None if there is none."""
        try:
            return await self._connection.call(method, request, _CALL)
        except CALL_ERRORS as error:
            self._known = self._known and status_of(error) is not StatusCode.UNIMPLEMENTED
            log.debug("cannot look at grants: %s", error)
            return None
