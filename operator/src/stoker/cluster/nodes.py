"""The nodes of the cluster, listed now and then and kept as little as plans need of them.

Listed and not watched, for three reasons. A kubelet writes its node's status every five minutes,
and a watch would bring each of these as a whole body of 10 to 20 KiB, of which nothing has changed
that matters here. A watch needs the right to be there for good, and a list that is refused costs
one line in the log. And nobody waits for the answer: nodes order the choices of a plan that is made
now, and never replace one.

A list comes in pages, so that memory and the loop hold a hundred bodies at a time; each becomes a
`Node` of a few hundred bytes at once. The pause grows with the cluster, to the five minutes of the
kubelets at 5,000 nodes. Without `resourceVersion=0`, which would make the API server forget about
pages and answer with everything.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from stoker.cluster.client import Client
from stoker.cluster.kinds import NODE
from stoker.errors import ClusterUnavailable, NotFound, Refused
from stoker.model.inventory import Inventory, Node, inventory_of, is_usual, node_of
from stoker.model.platform import AcceleratorPlatform
from stoker.model.topology import Topology

_log = logging.getLogger(__name__)

PAGE: Final = 100
_PAUSE_S: Final = 60.0
_PAUSE_PER_NODE_S: Final = 0.06
_REFUSED_PAUSE_S: Final = 300.0
_ZONES: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class Nodes:
    """What there is to run on, as last listed; nothing where the API server refuses the list."""

    def __init__(self, client: Client, accelerators: Mapping[str, AcceleratorPlatform]) -> None:
        self._client = client
        self._accelerators = accelerators
        self._nodes: tuple[Node, ...] | None = None
        self._by_name: dict[str, Node] = {}
        self._missing: set[str] = set()  # asked for by name since the last list
        self._inventories: dict[Topology | None, Inventory] = {}
        self._asked: frozenset[str] = frozenset()  # labels to keep from now on
        self._known: frozenset[str] = frozenset()  # those that were kept when last listed
        self._refused = False
        self._listing = asyncio.Lock()

    @property
    def listed(self) -> bool:
        """Whether anything is known of nodes."""
        return self._nodes is not None

    @property
    def pause_s(self) -> float:
        """How long to wait before the next list."""
        if self._refused:
            return _REFUSED_PAUSE_S
        return max(_PAUSE_S, _PAUSE_PER_NODE_S * len(self._nodes or ()))

    async def inventory(self, topology: Topology | None) -> Inventory | None:
        """What there is, for a model whose volume is there; None where nodes cannot be read."""
        if topology is not None and not await self._keeps(topology.keys):
            topology = None  # what cannot be told orders nothing
        if self._nodes is None:
            return None
        found = self._inventories.get(topology)
        if found is None:
            found = inventory_of(self._nodes, self._accelerators, topology)
            self._inventories[topology] = found
        return found

    async def reaching(
        self, topology: Topology | None, labels: frozenset[str]
    ) -> tuple[Node, ...] | None:
        """The nodes from which a volume there can be reached, with these labels of theirs.

        None where nodes cannot be read, or not with these labels.
        """
        keys = labels | (frozenset() if topology is None else topology.keys)
        if not await self._keeps(keys) or self._nodes is None:
            return None
        return tuple(
            node
            for node in self._nodes
            if topology is None or topology.admits(node.name, node.labels)
        )

    async def named(self, name: str) -> Node | None:
        """One node; None where it cannot be read.

        A node that joined after the last list is looked for by itself: a pod is on it, and what it
        costs depends on it. One that is not there is not looked for again before the next list.
        """
        if self._nodes is None:
            return None
        if name not in self._by_name and name not in self._missing:
            async with self._listing:  # who asks for the same one meanwhile waits for the answer
                await self._look_for(name)
        return self._by_name.get(name)

    async def _look_for(self, name: str) -> None:
        if name in self._by_name or name in self._missing:
            return
        query = {"fieldSelector": f"metadata.name={name}"}
        try:
            page = await self._client.get(NODE.path(None), query)
        except (ClusterUnavailable, Refused, NotFound):
            page = {}
        self._missing.add(name)
        for body in page.get("items") or ():
            self._by_name[name] = node_of(body, self._accelerators, self._asked)

    async def _keeps(self, keys: frozenset[str]) -> bool:
        """Whether these labels of the nodes are known; those that were not kept are listed now.

        Who asks while another's list is on its way waits for it: nodes without the label that they
        have would look as if they had gone.
        """
        unusual = frozenset(key for key in keys if not is_usual(key))
        if unusual <= self._known:
            return True
        if not unusual <= self._asked:
            self._asked |= unusual
            await self.refresh()
        async with self._listing:
            return unusual <= self._known

    async def refresh(self) -> bool:
        """List; whether something changed that a service should be looked at for."""
        async with self._listing:
            asked, before = self._asked, self._nodes
            try:
                nodes = await self._list(asked)
            except ClusterUnavailable as error:
                _log.info("nodes are not read now: %s", error, extra={"reason": "NodesNotRead"})
                return False
            except (Refused, NotFound) as error:
                if not self._refused:
                    _log.warning(
                        "nodes are not read, so plans do not look at what there is: %s",
                        error,
                        extra={"reason": "NodesNotRead"},
                    )
                self._refused, self._nodes = True, None
                self._by_name = {}
                self._inventories.clear()
                return before is not None
            if before is None:
                _log.info("reads nodes: %d", len(nodes), extra={"reason": "NodesRead"})
            self._refused, self._known = False, asked
            self._by_name = {node.name: node for node in nodes}
            self._missing.clear()
            if nodes == before:
                return False
            self._nodes = nodes
            self._inventories.clear()
            return before is None or _shapes(nodes) != _shapes(before)

    async def _list(self, asked: frozenset[str]) -> tuple[Node, ...]:
        found: list[Node] = []
        query = {"limit": str(PAGE)}
        while True:
            try:
                page = await self._client.get(NODE.path(None), query)
            except Refused as error:
                if "continue" not in query:
                    raise
                raise ClusterUnavailable(f"the list grew too old: {error}") from error
            found.extend(
                node_of(body, self._accelerators, asked) for body in page.get("items") or ()
            )
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return tuple(found)
            query["continue"] = str(token)


def _shapes(nodes: tuple[Node, ...]) -> frozenset[object]:
    """What kinds of nodes there are, however many of each: another one of a kind is no news."""
    return frozenset(
        (node.carries, node.driver, node.memory_bytes, *map(node.labels.get, _ZONES))
        for node in nodes
        if node.serves
    )
