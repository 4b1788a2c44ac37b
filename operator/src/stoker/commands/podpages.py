"""Asking the pods of services for their load, with the rights and from the machine of a user.

Each pod has one small page (`stoker.telemetry.pages`), reached by a port-forward that stays open
between two looks. A hundred pods are asked at most; of the rest the status has to do.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Self

from stoker import naming
from stoker.cluster.client import Client
from stoker.cluster.forward import Forward, forwarded, may_forward
from stoker.cluster.kinds import POD
from stoker.commands import running
from stoker.commands.rates import Look
from stoker.commands.running import Subject, told
from stoker.commands.statuses import mapping, mappings
from stoker.errors import Refused, StokerError
from stoker.model import observed
from stoker.model.load import EngineSample, FrontendSample
from stoker.naming import Component
from stoker.render.frontend_input import PATH_LOAD, FrontendPorts
from stoker.telemetry.parse import SampleError, engine_sample, frontend_sample
from stoker.telemetry.scrape import Scraper
from stoker_worker import contract

# A look goes through the API server and a kubelet.
TIMEOUT_S: Final = 5.0
MOST_PODS: Final = 100
_TURNS: Final = 16
_FORBIDDEN: Final = "you may not look into its pods: `get` and `create` on pods/portforward"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has to answer."""

    namespace: str
    service: str
    name: str
    uid: str
    engine: bool


def answering(pods: Iterable[Mapping[str, Any]]) -> dict[Key, list[Pod]]:
    """Ready engines and frontends, by service."""
    found: dict[Key, list[Pod]] = {}
    for pod in pods:
        metadata = mapping(pod.get("metadata"))
        labels = mapping(metadata.get("labels"))
        component, service = labels.get(naming.LABEL_COMPONENT), labels.get(naming.LABEL_SERVICE)
        if component not in {Component.ENGINE, Component.FRONTEND} or not service:
            continue
        if "deletionTimestamp" in metadata or not _ready(pod):
            continue
        namespace = str(metadata.get("namespace", ""))
        found.setdefault((namespace, str(service)), []).append(
            Pod(
                namespace,
                str(service),
                str(metadata.get("name")),
                str(metadata.get("uid", "")),
                engine=component == Component.ENGINE,
            )
        )
    return found


async def reachable(
    client: Client, key: observed.Key, component: Component, subject: Subject
) -> tuple[list[Pod], int]:
    """A service's pods of this kind that answer and whose ports are the user's to open.

    Also how many there are, answering or not. `CommandError` in the subject's words where the
    user may not know.
    """
    labels = naming.selector(key.name, component)
    query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
    where = observed.Key(key.namespace, "")
    try:
        pods = await running.read_all(client, POD.path(key.namespace), query)
        permitted = await may_forward(client, key.namespace)
    except StokerError as error:
        raise told(error, where, subject) from error
    if not permitted:
        raise told(Refused("ports of pods are not yours to open"), where, subject)
    return answering(pods).get((key.namespace, key.name), []), len(pods)


def chosen(pods: Mapping[Key, list[Pod]], most: int = MOST_PODS) -> dict[Key, list[Pod]]:
    """Services that are asked: all pods of one, or none; the small ones first."""
    found: dict[Key, list[Pod]] = {}
    left = most
    for key in sorted(pods, key=lambda each: (len(pods[each]), each)):
        if len(pods[key]) > left:
            break
        left -= len(pods[key])
        found[key] = pods[key]
    return found


@dataclass(slots=True)
class PodPages:
    """Open ways to pods, for as long as somebody looks."""

    client: Client
    _may: dict[str, bool] = field(default_factory=dict)  # by namespace
    _ways: dict[str, tuple[AsyncExitStack, Forward]] = field(default_factory=dict)
    _scraper: Scraper = field(default_factory=lambda: Scraper(TIMEOUT_S))
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TURNS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._scraper.close()
        for stack, _forward in self._ways.values():
            await stack.aclose()

    async def look(self, pods: Mapping[Key, list[Pod]]) -> dict[Key, Look]:
        """One look at all of them."""
        asked = [pod for each in pods.values() for pod in each]
        for namespace in {pod.namespace for pod in asked} - self._may.keys():
            self._may[namespace] = await may_forward(self.client, namespace)
        await self._close_others({pod.uid for pod in asked})
        time = asyncio.get_running_loop().time()
        told = dict(
            zip(
                [pod.uid for pod in asked],
                await asyncio.gather(*(self._ask(pod) for pod in asked)),
                strict=True,
            )
        )
        return {key: _look(time, each, told) for key, each in pods.items()}

    async def _ask(self, pod: Pod) -> EngineSample | FrontendSample | str:
        if not self._may[pod.namespace]:
            return _FORBIDDEN
        async with self._turns:
            forward = await self._way(pod)
            path = contract.PATH_LOAD if pod.engine else PATH_LOAD
            try:
                page = await self._scraper.get(f"{forward.root}{path}")
                if pod.engine:
                    return engine_sample(pod.name, page, pod.uid, histograms=True)
                return frontend_sample(pod.name, page, pod.uid)
            except SampleError as error:
                cause, forward.error = forward.error, None
                if isinstance(cause, Refused):
                    return _FORBIDDEN
                return f"{pod.name}: {cause or error}"

    async def _way(self, pod: Pod) -> Forward:
        if pod.uid not in self._ways:
            stack = AsyncExitStack()
            port = contract.WORKER_PORT if pod.engine else FrontendPorts().ops
            way = forwarded(self.client, pod.namespace, pod.name, port)
            self._ways[pod.uid] = stack, await stack.enter_async_context(way)
        return self._ways[pod.uid][1]

    async def _close_others(self, uids: set[str]) -> None:
        for uid in self._ways.keys() - uids:
            stack, _ = self._ways.pop(uid)
            await stack.aclose()


def _look(
    time: float, pods: Iterable[Pod], told: Mapping[str, EngineSample | FrontendSample | str]
) -> Look:
    engines: dict[str, EngineSample] = {}
    frontends: dict[str, FrontendSample] = {}
    problems: list[str] = []
    for pod in pods:
        answer = told[pod.uid]
        if isinstance(answer, EngineSample):
            engines[pod.uid] = answer
        elif isinstance(answer, FrontendSample):
            frontends[pod.uid] = answer
        else:
            problems.append(answer)
    return Look(time, engines, frontends, tuple(problems))


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = mappings(mapping(pod.get("status")).get("conditions"))
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
