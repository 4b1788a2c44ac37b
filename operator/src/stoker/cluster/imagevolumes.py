"""Whether the API server takes image volumes, asked by a Job that is never made.

A version says little: the feature is a gate that an administrator may have set, and the published
schema names the field whether or not the gate is on. Where it is off, the volume and its mounts are
taken out without a word, and a pod would start without its model. So a Job with such a volume is
sent as a dry run, with the right to make Jobs that the operator has, and what comes back tells.
What nodes can do is another question, which a cache's job answers.
"""

import logging
from typing import Any, Final

from stoker.clock import Clock
from stoker.cluster.client import Client
from stoker.cluster.kinds import child
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, Terminating

_log = logging.getLogger(__name__)

# An API server that is upgraded is another one.
_BELIEVED_S: Final = 300.0
_JOB: Final = child("Job")
# Where the field is not known at all.
_DROPPED: Final = "must specify a volume type"


class ImageVolumes:
    """Asks now and then, for those who want to mount an image."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._taken: bool | None = None
        self._asked_at = -_BELIEVED_S

    async def taken(self, namespace: str) -> bool | None:
        """Whether it takes them; None where a policy or a quota of the namespace hides that."""
        now = self._clock.monotonic()
        if self._taken is None or now - self._asked_at >= _BELIEVED_S:
            found = await self._ask(namespace)
            self._taken = self._taken if found is None else found
            self._asked_at = now
        return self._taken

    async def _ask(self, namespace: str) -> bool | None:
        try:
            made = await self._client.write(
                "POST", _JOB.path(namespace), _probe(), query={"dryRun": "All"}
            )
        except Refused as error:
            if _DROPPED in str(error):
                return False
            _log.info("image volumes: %s", error, extra={"reason": "NotTold"})
            return None
        except (ClusterUnavailable, Conflict, NotFound, Terminating):
            return None
        volumes = made["spec"]["template"]["spec"].get("volumes") or ()
        return any("image" in volume for volume in volumes)


def _probe() -> dict[str, Any]:
    """The smallest Job with an image volume that the restricted standard lets through."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": "stoker.invalid/none",
        "securityContext": security,
        "resources": {
            "requests": {"cpu": "1m", "memory": "1Mi"},
            "limits": {"cpu": "1m", "memory": "1Mi"},
        },
    }
    volume = {"name": "model", "image": {"reference": "stoker.invalid/none"}}
    return {
        "apiVersion": _JOB.api_version,
        "kind": _JOB.name,
        "metadata": {"generateName": "stoker-image-volumes-"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [volume],
                }
            }
        },
    }
