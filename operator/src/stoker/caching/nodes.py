"""A cache that is kept per node: one claim, another folder on each node, a job for each.

    node gone         its entry goes; its Job too
    node new          a job, at most `preload.parallel` at once, where a pod waits first
    node bad          waits for its time, and the others go on

What services are told to use changes only when every node has it, so that a pod which lands on a
node that is late finds what it had before. The first content is told of as soon as one node has it:
a pod elsewhere waits in its init container.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from stoker import naming
from stoker.caching import running, shared
from stoker.caching.context import Context
from stoker.caching.memory import Content, Memory, NodeMemory, Resolved
from stoker.caching.running import Ran
from stoker.caching.step import Step, content_of, repaired
from stoker.model import reasons
from stoker.model.cache import NodeLabel
from stoker.model.inventory import Node
from stoker.model.moment import earliest
from stoker.model.plan import Apply, Event, Verdict
from stoker_worker.cachecontract import FetchResult, Progress

# Nodes that one cache fills: the status has a word about each, and stays below 16 KiB.
MOST_NODES: Final = 50
# A verification that is due whatever the schedule says.
_AT_ONCE: Final = 0.0
_NAMES: Final = 2500  # characters of their names together


def advance(context: Context, memory: Memory, resolved: Resolved) -> Step:
    """Go on with every node that is selected."""
    of = _content_id(context, resolved)
    before = memory.nodes if memory.nodes_of == of else {}
    nodes = selected(context, [name for name, node in before.items() if node.ready])
    if nodes is None:
        return _nowhere(
            memory,
            reasons.NODES_NOT_READ,
            "A cache that is kept per node needs to know the nodes: the administrator has to set "
            "nodes.read=true, and no watchNamespaces.",
        )
    memory = replace(
        memory,
        nodes_of=of,
        nodes={name: before.get(name, NodeMemory()) for name in nodes},
        attempt=None,
    )
    if context.verify_word not in {"", memory.verified}:
        again = {name: replace(node, verified_at=_AT_ONCE) for name, node in memory.nodes.items()}
        memory = replace(memory, nodes=again, verified=context.verify_word, repaired=())
    if not nodes:
        return _nowhere(
            memory,
            reasons.NO_NODE_SELECTED,
            "No node that reaches the volume has the labels of preload.nodes, and those that the "
            "service's pods ask for.",
        )
    return _Round(context, memory, resolved, nodes).play()


def selected(context: Context, held: Collection[str] = ()) -> tuple[str, ...] | None:
    """The nodes to fill, those first where a pod waits; None where nodes are not known.

    One that is not ready, or is cordoned, is waited for only if it holds the model.
    """
    observed = context.observed
    if observed.nodes is None:
        return None
    names = [node.name for node in observed.nodes if _may_hold(context, node, held)]
    ordered = sorted(names, key=lambda name: (name not in observed.waiting_on, name))
    chosen: list[str] = []
    room = _NAMES
    for name in ordered[:MOST_NODES]:
        room -= len(name)
        if room >= 0:
            chosen.append(name)
    return tuple(chosen)


def labels(context: Context, memory: Memory) -> tuple[NodeLabel, ...]:
    """Labels of nodes that do not say yet what they hold, for the scheduler to prefer them.

    While another content comes, every node has the one that is in use, and nothing is to be said.
    """
    nodes, content, resolved = context.observed.nodes, memory.content, memory.resolved
    if not context.caches.label_nodes or nodes is None or content is None or resolved is None:
        return ()
    if content.folder != resolved.folder:
        return ()
    key = naming.model_label(content.folder)
    ready = {name for name, node in memory.nodes.items() if node.ready}
    found = [
        NodeLabel(node.name, key, node.name in ready)
        for node in nodes
        if (node.labels.get(key) == "true") != (node.name in ready)
    ]
    before = context.observed.cache.status.get("folder")
    if isinstance(before, str) and before != content.folder:
        old = naming.model_label(before)
        found.extend(NodeLabel(node.name, old, wanted=False) for node in nodes)
    return tuple(found)


def _may_hold(context: Context, node: Node, held: Collection[str]) -> bool:
    """Whether a node is selected, and a service's pod may run there."""
    preload = context.spec.preload
    wanted = {} if preload is None or preload.nodes is None else preload.nodes.match_labels
    placement = context.placement
    return (
        (node.serves or node.name in held)
        and _has(node, wanted.items())
        and _has(node, placement.additions.node_selector)
        and any(_has(node, labels) for labels in placement.accelerators.selectors)
    )


def _has(node: Node, labels: Iterable[tuple[str, str]]) -> bool:
    return all(node.labels.get(key) == value for key, value in labels)


class _Round:
    """One pass over the nodes."""

    def __init__(
        self, context: Context, memory: Memory, resolved: Resolved, nodes: tuple[str, ...]
    ) -> None:
        self.context = context
        self.memory = memory
        self.resolved = resolved
        self.nodes = nodes
        self.keep: set[str] = set()
        self.writes: list[Apply] = []
        self.events: list[Event] = []
        self.running: list[Progress | None] = []
        self.waits: list[tuple[str, Verdict]] = []
        self.latest: FetchResult | None = None
        self.busy = 0

    def play(self) -> Step:
        """Each node in turn; those whose job is there already before those that need one."""
        preload = self.context.spec.preload
        parallel = 2 if preload is None else preload.parallel
        with_job = {name for name in self.nodes if self._has_job(name)}
        for name in sorted(self.nodes, key=lambda each: each not in with_job):
            self._node(name, may_start=name in with_job or self.busy < parallel)
        return self._step()

    def _has_job(self, name: str) -> bool:
        return any(
            each.kind == "Job"
            and (
                (each.body["metadata"].get("annotations") or {}).get(naming.ANNOTATION_NODE) == name
            )
            for each in self.context.observed.objects
        )

    def _node(self, name: str, *, may_start: bool) -> None:
        node = self.memory.nodes[name]
        context, resolved = self.context, self.resolved
        if not node.ready:
            job = context.fetch_job(resolved, self.memory.content, name)
        elif self._due(name, node):
            job = context.verify_job(resolved, self.memory.content, name)
        else:
            return
        ran = running.run(context, job, node.attempt)
        if ran.write is not None and not may_start:
            return
        self._take(name, node, ran)

    def _due(self, name: str, node: NodeMemory) -> bool:
        if shared.newer(self.context.observed.corrupt.get(name), node.verified_at):
            return True
        at = shared.next_verification(self.context, node.verified_at)
        return node.verified_at == _AT_ONCE or (at is not None and self.context.now.unix >= at)

    def _take(self, name: str, node: NodeMemory, ran: Ran) -> None:
        self.keep |= shared.kept(ran)
        if ran.write is not None:
            self.writes.append(ran.write)
        if ran.result is not None:
            self.latest = ran.result
            self.events.extend(repaired(ran.result, f" on node {name}"))
            # What the owner asked for is told of all nodes together.
            before = self.memory.repaired if node.verified_at == _AT_ONCE else ()
            bad = tuple(dict.fromkeys((*before, *ran.result.repaired)))
            self.memory = replace(self.memory, repaired=bad).with_node(
                name, NodeMemory(ready=True, verified_at=self.context.now.unix)
            )
        elif ran.failed is not None:
            self.memory = self.memory.with_node(name, replace(node, attempt=ran.failed))
        else:
            # A pod that no node takes keeps nobody else from being filled.
            self.busy += ran.verdict is None or ran.placed
            if ran.placed:
                self.running.append(ran.progress)
            if ran.verdict is not None:
                self.waits.append((name, ran.verdict))

    def _step(self) -> Step:
        held = [name for name in self.nodes if self.memory.nodes[name].ready]
        content = self._content(held)
        all_held = len(held) == len(self.nodes)
        times = [time for name in held if (time := self.memory.nodes[name].verified_at)]
        memory = replace(
            self.memory,
            content=content,
            verified_at=min(times, default=self.memory.verified_at) if content else None,
            demands=self.context.demands if all_held else self.memory.demands,
        )
        failed = [
            (name, node.attempt)
            for name, node in sorted(memory.nodes.items())
            if node.attempt is not None
        ]
        verdict = _told([(name, attempt.verdict) for name, attempt in failed] or self.waits)
        under_way = bool(self.keep) or bool(self.writes) or bool(self.running)
        return Step(
            phase=_phase(
                all_held=all_held,
                has=bool(held) or content is not None,
                failed=bool(failed),
                running=bool(self.running),
                under_way=under_way,
            ),
            memory=memory,
            keep=frozenset(self.keep),
            writes=tuple(self.writes),
            verdict=verdict,
            failed=bool(failed) and not self.running,
            progress=self._progress(held),
            under_way=under_way,
            retry_at=earliest(*(attempt.retry_at for _, attempt in failed)),
            events=tuple(self.events),
            wanted_nodes=self.nodes,
            unverified=next((attempt.verdict for name, attempt in failed if name in held), None),
        )

    def _content(self, held: list[str]) -> Content | None:
        content, result, claim = self.memory.content, self.latest, self.context.observed.claim
        if claim is None:
            return content
        same = (
            content is not None
            and content.claim_uid == claim.uid
            and content.folder == self.resolved.folder
        )
        if result is None or (content is not None and not same and len(held) < len(self.nodes)):
            return content
        found = content_of(result, claim.name, claim.uid, self.resolved.folder)
        if found.facts is None and content is not None and same:
            return replace(found, facts=content.facts, unread=content.unread)
        return found

    def _progress(self, held: list[str]) -> Progress | None:
        """All nodes together."""
        pages = [page for page in self.running if page is not None]
        if not pages:
            return None
        size = self.resolved.bytes
        done = size * len(held) + sum(page.done for page in pages)
        speed = sum(page.speed for page in pages)
        total = size * len(self.nodes)
        rest = (total - done) / speed if speed > 0 else None
        return replace(pages[0], bytes=total, done=done, speed=speed, remaining_s=rest)


def _told(told: list[tuple[str, Verdict]]) -> Verdict | None:
    if not told:
        return None
    name, first = told[0]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return Verdict(first.reason, f"Node {name}{more}: {first.message}")


def _phase(*, all_held: bool, has: bool, failed: bool, running: bool, under_way: bool) -> str:
    if failed and not running:
        return "Degraded" if has else "Failed"
    if all_held:
        return "Verifying" if under_way else "Ready"
    return "Fetching" if running else "Pending"


def _content_id(context: Context, resolved: Resolved) -> str:
    claim = context.observed.claim
    what = [claim.uid if claim else "", resolved.folder, context.demands]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]


def _nowhere(memory: Memory, reason: str, message: str) -> Step:
    phase = "Pending" if memory.content is None else "Degraded"
    return Step(phase, memory, verdict=Verdict(reason, message), failed=True, wanted_nodes=())
