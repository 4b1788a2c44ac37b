"""`stoker profile SERVICE`: what one replica spends its time on, by PyTorch's profiler.

The replica leaves rotation, what runs there finishes, and the requests that are recorded come from
here, straight to that replica. All goes through port-forwards. The worker gives the replica back
when the trace is written, and by itself where this program ends or loses its connection.
"""

import asyncio
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console

from stoker.clock import SystemClock
from stoker.cluster.client import Client
from stoker.cluster.forward import Forward, forwarded
from stoker.cluster.kinds import POD
from stoker.commands import operators, podpages, talk
from stoker.commands.exits import Exit
from stoker.commands.following import Progress, Screen, screen_of
from stoker.commands.inputs import InputError
from stoker.commands.operators import Operator
from stoker.commands.podpages import Pod
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Service,
    Where,
    check_names,
    finish,
    print_data,
    with_service,
)
from stoker.commands.recorder import RECORDING, WRITTEN, Recorder
from stoker.commands.running import CommandError, Subject, told
from stoker.commands.statuses import duration, mapping, whole
from stoker.commands.tables import safe, titled
from stoker.model.observed import Key
from stoker.naming import Component
from stoker_worker import contract

# Requests that run may take as long as a drain; a trace is written within seconds, or minutes.
_LEAVE_S: Final = 3600.0
_WRITE_S: Final = 700.0
# Every vocabulary has these tokens, and no two prompts share a prefix.
_TOKENS: Final = range(3, 200)
_TABLE: Final = ".txt"
_TRACE: Final = ".json.gz"
_WORDS: Final = {
    "Leaving": "out of rotation; requests that run there finish first",
    "Starting": "the engine's profiler starts",
    "Recording": "it records",
    "Stopping": "the engine writes its trace",
}
PORTS: Final = Subject(
    POD,
    "pods",
    "Profiling takes the rights `get` on inferenceservices.stoker.dev, `list` on pods, and `get` "
    "and `create` on pods/portforward, which the role `edit` of a namespace has",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What the replica is given to do while it records."""

    requests: int
    input_tokens: int
    output_tokens: int
    steps: int


def profile(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    pod: Annotated[
        str | None, typer.Option("--pod", help="This engine pod. Default: the first by name.")
    ] = None,
    requests: Annotated[
        int, typer.Option("--requests", min=1, max=256, help="Sent to it, all at once.")
    ] = 4,
    input_tokens: Annotated[
        int, typer.Option("--input-tokens", min=1, max=100_000, help="Of each prompt, random.")
    ] = 128,
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", min=1, max=10_000, help="Of each answer, all.")
    ] = 32,
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            min=1,
            max=contract.PROFILE_STEPS,
            help="Steps of the engine that are recorded, at most.",
        ),
    ] = 50,
    top: Annotated[int, typer.Option("--top", min=1, help="Operators in the table.")] = 15,
    into: Annotated[
        Path, typer.Option("--into", help="Folder for the trace.", file_okay=False)
    ] = Path(),
    hold_requests: Annotated[
        bool,
        typer.Option(
            "--hold-requests",
            help="Also profile the only replica that answers: until it is back, about a minute, "
            "the frontend holds all requests.",
        ),
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Trace one replica of SERVICE, out of rotation, and show its heaviest operators."""

    def answer() -> Exit:
        check_names(service, namespace)
        load = Load(requests, input_tokens, output_tokens, steps)
        try:
            into.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--into {into}: {error.strerror}") from error

        async def act(client: Client, key: Key, body: dict[str, Any]) -> Exit:
            run = Run(client, key, load, into)
            _check_spec(key, body)
            data, found = await run.go(pod, alone=hold_requests)
            if output is Output.TABLE:
                show(Console(highlight=False), data, found[:top])
            else:
                print_data({**data, "operators": [_as_data(each) for each in found[:top]]}, output)
            return Exit.DONE

        return with_service(service, Where(namespace, kubeconfig, context), act)

    finish(answer)


def _check_spec(key: Key, body: Mapping[str, Any]) -> None:
    """`CommandError` where the spec does not have engines that can be profiled."""
    spec = mapping(body.get("spec"))
    if mapping(spec.get("engine")).get("profiling") is not True:
        raise CommandError(
            f"{key}: its engines are started without their profiler. Set "
            "spec.engine.profiling: true (`kubectl patch infer "
            f"{key.name} -n {key.namespace} --type merge -p "
            """'{"spec":{"engine":{"profiling":true}}}'`), which replaces its replicas, and run """
            "this again",
            Exit.REFUSED,
        )
    if (whole(mapping(spec.get("parallelism")).get("nodes")) or 1) > 1:
        raise CommandError(
            f"{key}: a replica spans pods, each of which would write a part of the trace; that is "
            "not offered. docs/cli.md (profile) tells what to use instead",
            Exit.REFUSED,
        )


@dataclass(slots=True)
class Run:
    """One trace."""

    client: Client
    key: Key
    load: Load
    into: Path

    async def go(self, pod: str | None, *, alone: bool) -> tuple[dict[str, Any], list[Operator]]:
        """Record, fetch, and tell."""
        pods, _ = await podpages.reachable(self.client, self.key, Component.ENGINE, PORTS)
        chosen = choose(self.key, pods, pod, alone=alone)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        screen = screen_of(Console(stderr=True, highlight=False), SystemClock())
        async with (
            forwarded(self.client, self.key.namespace, chosen, contract.WORKER_PORT) as way,
            forwarded(self.client, self.key.namespace, chosen, contract.ENGINE_PORT) as engine,
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        ):
            recorder = Recorder(session, way.root, chosen)
            try:
                with screen:
                    return await self._record(recorder, session, engine, screen)
            except (CommandError, aiohttp.ClientError, OSError) as error:
                cause = way.error or engine.error
                if cause is not None:
                    raise told(cause, Key(self.key.namespace, ""), PORTS) from error
                if isinstance(error, CommandError):
                    raise
                raise CommandError(
                    f"pod {chosen}: {type(error).__name__}: {error}", Exit.UNHEALTHY
                ) from error

    async def _record(
        self, recorder: Recorder, session: aiohttp.ClientSession, engine: Forward, screen: Screen
    ) -> tuple[dict[str, Any], list[Operator]]:
        def tell(stage: str, percent: int | None = None) -> None:
            line = _WORDS.get(stage, stage)
            screen.tell(Progress(f"{self.key.namespace}/{recorder.pod}", line, percent, line))

        begun = time.monotonic()
        await recorder.begin(self.load.steps)
        async with recorder:
            await recorder.until(RECORDING, _LEAVE_S, tell)
            tell(RECORDING)
            seconds = await self._send(session, engine.root, recorder)
            await recorder.enough()
            await recorder.until(WRITTEN, _WRITE_S, tell)
            away = time.monotonic() - begun
            tables = [each for each in recorder.files() if each.name.endswith(_TABLE)]
            if not tables:
                raise CommandError(
                    f"pod {recorder.pod}: the engine wrote no table; its log says why "
                    f"(`stoker logs {self.key.name} -c engine`)",
                    Exit.UNHEALTHY,
                )
            found = self._read(await recorder.read(tables[0]))
            traces = await self._save(recorder, screen)
        return {
            "service": str(self.key),
            "pod": recorder.pod,
            "requests": self.load.requests,
            "inputTokens": self.load.input_tokens,
            "outputTokens": self.load.output_tokens,
            "steps": self.load.steps,
            "loadSeconds": round(seconds, 3),
            "outOfRotationSeconds": round(away, 3),
            "traces": traces,
        }, found

    def _read(self, table: bytes) -> list[Operator]:
        try:
            return operators.read(table.decode("utf-8", "replace"))
        except ValueError as error:
            raise CommandError(f"the engine's table cannot be read: {error}", Exit.UNHEALTHY) from (
                error
            )

    async def _save(self, recorder: Recorder, screen: Screen) -> list[str]:
        """Each rank's trace; its name leads nowhere else, whatever the pod says."""
        saved: list[str] = []
        for each in recorder.files():
            if not each.name.endswith(_TRACE):
                continue
            name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{recorder.pod}.{each.name}")
            path = self.into / name

            def tell(done: int, size: int = each.size) -> None:
                line = f"fetched {done / 1e6:.1f} of {size / 1e6:.1f} MB"
                percent = 100 * done // max(1, size)
                screen.tell(Progress(str(self.key), line, percent, "fetched"))

            try:
                await recorder.save(each, path, tell)
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from error
            saved.append(str(path))
        return saved

    async def _send(self, session: aiohttp.ClientSession, root: str, recorder: Recorder) -> float:
        """The load; how long it took."""
        begun = time.monotonic()
        model = await talk.model_of(session, root)
        sending = [
            asyncio.create_task(_request(session, root, _prompt(model, number, self.load)))
            for number in range(self.load.requests)
        ]
        try:
            while not all(each.done() for each in sending):
                await asyncio.wait(sending, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION)
                recorder.check()
                for each in sending:
                    if each.done():
                        each.result()
        finally:
            for each in sending:
                each.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        return time.monotonic() - begun


def choose(key: Key, pods: Sequence[Pod], wanted: str | None, *, alone: bool) -> str:
    """The pod to profile; `CommandError` says why there is none."""
    names = sorted(each.name for each in pods)
    if not names:
        raise CommandError(
            f"no replica of {key} answers; `stoker why {key.name} -n {key.namespace}` says why",
            Exit.UNHEALTHY,
        )
    if wanted is not None and wanted not in names:
        raise CommandError(
            f"--pod {wanted}: no replica of {key} that answers; those are {', '.join(names)}",
            Exit.NOT_FOUND,
        )
    if len(names) == 1 and not alone:
        raise CommandError(
            f"{names[0]} is the only replica of {key} that answers. Add one first, for a fixed "
            f"number with `stoker scale {key.name} 2 -n {key.namespace}`; or pass --hold-requests "
            "to have the frontend hold all requests for about a minute",
            Exit.REFUSED,
        )
    return wanted or names[0]


def _prompt(model: str, number: int, load: Load) -> dict[str, Any]:
    chosen = random.Random(number)  # noqa: S311 - words, not secrets
    return {
        "model": model,
        "prompt": chosen.choices(_TOKENS, k=load.input_tokens),
        "max_tokens": load.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
    }


async def _request(session: aiohttp.ClientSession, root: str, body: Mapping[str, Any]) -> None:
    async with session.post(f"{root}/v1/completions", json=body) as response:
        raw = await response.read()
        if response.status != 200:
            raise talk.failure(response.status, raw)


def _as_data(each: Operator) -> dict[str, Any]:
    return {
        "name": each.name,
        "calls": each.calls,
        "selfSeconds": each.self_s,
        "totalSeconds": each.total_s,
        "deviceSelfSeconds": each.device_self_s,
        "deviceTotalSeconds": each.device_total_s,
    }


def show(console: Console, data: Mapping[str, Any], found: Sequence[Operator]) -> None:
    """The answer for people."""
    device = any(each.device_self_s is not None for each in found)
    table = titled(f"Operators of {data['pod']}", "operator")
    columns = ["calls", *(["device self", "device total"] if device else [])]
    for name in (*columns, "self", "total", "each"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        seconds = [each.self_s, each.total_s, each.total_s / max(1, each.calls)]
        if device:
            seconds = [each.device_self_s or 0.0, each.device_total_s or 0.0, *seconds]
        table.add_row(safe(each.name), f"{each.calls:,}", *(_time(value) for value in seconds))
    console.print(table)
    away = duration(data["outOfRotationSeconds"])
    console.print(
        f"Recorded at most {data['steps']} steps of {data['requests']} requests "
        f"({data['inputTokens']} tokens in, {data['outputTokens']} out); the replica was out of "
        f"rotation for {away} and is back.",
        soft_wrap=True,
        markup=False,
    )
    for path in data["traces"]:
        console.print(f"Trace: {safe(path)} (open it at https://ui.perfetto.dev)", soft_wrap=True)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    return f"{seconds * 1e3:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"
