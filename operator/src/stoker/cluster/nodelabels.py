"""Labels of nodes that hold a model, so that the scheduler can prefer them: where it is allowed.

It takes the right to patch nodes, which the chart grants with `nodes.label` alone. Nothing depends
on a label: one that cannot be written is logged, and nobody is kept from anything.
"""

import logging
from collections.abc import Iterable
from typing import Final

from stoker import naming
from stoker.clock import Clock
from stoker.cluster.client import MERGE, Client
from stoker.cluster.kinds import NODE
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, Terminating
from stoker.model.cache import NodeLabel

_log = logging.getLogger(__name__)

# Nodes are listed now and then, so what was written is believed for longer than that.
_BELIEVED_S: Final = 300.0


class NodeLabels:
    """Writes labels, each once."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._written: dict[NodeLabel, float] = {}

    async def write(self, labels: Iterable[NodeLabel]) -> None:
        """Write those that were not written lately."""
        now = self._clock.monotonic()
        self._written = {label: at for label, at in self._written.items() if now < at + _BELIEVED_S}
        for label in labels:
            if label not in self._written:
                self._written.pop(NodeLabel(label.node, label.key, not label.wanted), None)
                self._written[label] = now
                await self._write(label)

    async def _write(self, label: NodeLabel) -> None:
        value = "true" if label.wanted else None
        try:
            await self._client.write(
                "PATCH",
                NODE.path(None, label.node),
                {"metadata": {"labels": {label.key: value}}},
                query={"fieldManager": naming.FIELD_MANAGER},
                content_type=MERGE,
            )
        except (ClusterUnavailable, Conflict, NotFound, Refused, Terminating) as error:
            _log.info(
                "label %s of node %s not written: %s",
                label.key,
                label.node,
                error,
                extra={"reason": type(error).__name__},
            )
