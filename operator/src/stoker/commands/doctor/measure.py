"""Reading the pages of a service's own pods, and one tiny request, through a port-forward.

A port-forward ends inside the pod, so no NetworkPolicy stands in between; it takes the right to
`get` pods/portforward (from Kubernetes 1.35 on `create`), which the role `edit` has.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import aiohttp

from stoker.catalog.enginefile import version_of_image
from stoker.cluster.client import Client
from stoker.cluster.forward import forwarded
from stoker.commands import statuses
from stoker.commands.doctor.figures import Figures, Page, figures_of
from stoker.commands.doctor.podwords import pods_of, raw
from stoker.commands.doctor.seen import Answer, Denied, World, of_component
from stoker.errors import Refused, StokerError
from stoker.model.observed import ObservedPod
from stoker.naming import Component
from stoker.quantity import parse_quantity
from stoker.render.frontend_input import FrontendPorts
from stoker_worker import contract

# A few replicas speak for all.
_ENGINES: Final = 3
_PAGE_S: Final = 5.0
_LIMIT: Final = 4 * 1024 * 1024
_RIGHT: Final = "the right to get pods/portforward (from Kubernetes 1.35 on: create)"
_USAGE: Final = "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{pod}"


async def measure(client: Client, world: World, seconds: float) -> Figures | Denied | None:
    """What the engines show in that time; None where none could be asked."""
    if isinstance(world.around.pods, Denied):
        return world.around.pods
    engines = _answering(world, Component.ENGINE)[:_ENGINES]
    picker = _answering(world, Component.FRONTEND)[:1]
    if world.key is None or not engines:
        return None
    namespace = world.key.namespace
    pairs, pickers, used = await asyncio.gather(
        asyncio.gather(*(_pair(client, namespace, pod.name, seconds) for pod in engines)),
        asyncio.gather(
            *(_page(client, namespace, pod.name, FrontendPorts().stable.metrics) for pod in picker)
        ),
        asyncio.gather(*(_cores(client, namespace, pod.name) for pod in engines)),
    )
    denied = next((pair for pair in pairs if isinstance(pair, Denied)), None)
    if denied is not None:
        return denied
    cores = [each for each in used if each is not None]
    return figures_of(
        [pair for pair in pairs if isinstance(pair, tuple)],
        next((page.text for page in pickers if isinstance(page, Page)), None),
        max(cores, default=None),
        _limit_of(world, engines),
    )


async def ask_once(client: Client, world: World, patience_s: float) -> Answer | Denied:
    """One token of the service's model by its own frontend."""
    frontends = _answering(world, Component.FRONTEND)
    if world.key is None or not frontends:
        return Denied("a frontend pod that is ready and may be listed")
    status = statuses.mapping(world.body.get("status"))
    model = statuses.text(statuses.mapping(status.get("model")).get("name")) or world.key.name
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    began = time.monotonic()
    pod, port = frontends[0].name, FrontendPorts().api
    async with forwarded(client, world.key.namespace, pod, port) as forward:
        try:
            said = await _post(f"{forward.root}/v1/completions", body, patience_s)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(forward.error, Refused):
                return Denied(_RIGHT)
            said = str(forward.error or error) or "no answer in time"
    return Answer(time.monotonic() - began, said)


async def _post(url: str, body: dict[str, Any], patience_s: float) -> str:
    """Why there is no token; empty where there is one."""
    timeout = aiohttp.ClientTimeout(total=patience_s)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.post(url, json=body, allow_redirects=False) as response,
    ):
        text = (await response.content.read(_LIMIT)).decode("utf-8", "replace")
        if response.status == 200:
            return ""
        return f"HTTP {response.status}: {' '.join(text.split())[:300]}"


def engine_version(world: World) -> str:
    """By the tag of the image that runs; empty where it has none."""
    for pod in of_component(pods_of(world), Component.ENGINE):
        for each in statuses.mappings(
            statuses.mapping(raw(world, pod.name).get("spec")).get("containers")
        ):
            if each.get("name") == "engine":
                return version_of_image(str(each.get("image") or ""))
    return ""


def _answering(world: World, component: Component) -> list[ObservedPod]:
    found = of_component(pods_of(world), component)
    return [pod for pod in found if pod.ready and not pod.deleting]


async def _pair(
    client: Client, namespace: str, pod: str, seconds: float
) -> tuple[Page, Page] | Denied | None:
    first = await _page(client, namespace, pod, contract.ENGINE_PORT)
    if not isinstance(first, Page):
        return first
    await asyncio.sleep(seconds)
    last = await _page(client, namespace, pod, contract.ENGINE_PORT)
    return (first, last) if isinstance(last, Page) else last


async def _page(client: Client, namespace: str, pod: str, port: int) -> Page | Denied | None:
    async with forwarded(client, namespace, pod, port) as forward:
        try:
            data = await _read(f"{forward.root}{contract.PATH_METRICS}")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Denied(_RIGHT) if isinstance(forward.error, Refused) else None
    return None if data is None else Page(time.monotonic(), data.decode("utf-8", "replace"))


async def _read(url: str) -> bytes | None:
    """A page; None where the answer is an error."""
    timeout = aiohttp.ClientTimeout(total=_PAGE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.get(url) as response,
    ):
        if response.status != 200:
            return None
        data = b""
        while len(data) < _LIMIT and (chunk := await response.content.read(65_536)):
            data += chunk
    return data


async def _cores(client: Client, namespace: str, pod: str) -> float | None:
    """Processor cores that the engine's container uses, where the cluster has metrics-server."""
    try:
        found = await client.get(_USAGE.format(namespace=namespace, pod=pod))
    except StokerError:
        return None
    for each in statuses.mappings(found.get("containers")):
        if each.get("name") == "engine":
            return _cpu(statuses.mapping(each.get("usage")).get("cpu"))
    return None


def _limit_of(world: World, pods: Iterable[ObservedPod]) -> float | None:
    """Cores that an engine may use; None where it has no limit."""
    for pod in pods:
        containers = statuses.mapping(raw(world, pod.name).get("spec")).get("containers")
        for each in statuses.mappings(containers):
            limits = statuses.mapping(statuses.mapping(each.get("resources")).get("limits"))
            if each.get("name") == "engine" and "cpu" in limits:
                return _cpu(limits["cpu"])
    return None


def _cpu(text: object) -> float | None:
    try:
        return float(parse_quantity(str(text)))
    except ValueError:
        return None
