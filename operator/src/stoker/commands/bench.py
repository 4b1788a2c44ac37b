"""`stoker bench SERVICE`: load from inside the cluster, and what came of it beside the targets.

It makes a Job with the service's own image, follows its log, and removes it at the end, also where
it is ended by Ctrl-C.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from stoker import naming
from stoker.clock import SystemClock
from stoker.cluster.client import Client
from stoker.cluster.kinds import POD, Kind, child
from stoker.commands import benchjob, loglines, running
from stoker.commands.benchjob import Load, Replica
from stoker.commands.exits import Exit
from stoker.commands.following import Progress, screen_of
from stoker.commands.inputs import InputError
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
    seconds_of,
    with_service,
)
from stoker.commands.running import CommandError, Subject, told
from stoker.commands.statuses import duration, mapping, text
from stoker.commands.tables import plain, titled
from stoker.errors import ClusterUnavailable, NotFound, Refused, StokerError
from stoker.model.observed import Key
from stoker.naming import Component
from stoker.render.frontend_input import FrontendPorts

_LOOK_S: Final = 2.0
_JOB: Final = child("Job")
_POLICY: Final = child("NetworkPolicy")
_DEPLOYMENT: Final = child("Deployment")
JOBS: Final = Subject(
    _JOB,
    "jobs",
    "A benchmark takes the rights `get` on inferenceservices.stoker.dev, `list` on deployments and "
    "pods, `get` on pods/log, `create`, `get` and `delete` on jobs, and `create` on "
    "networkpolicies, which the role `edit` of a namespace has",
)


def bench(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    requests: Annotated[int, typer.Option("--requests", min=1, max=100_000)] = 64,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=10_000, help="In progress at once.")
    ] = 8,
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.001, help="Requests per second. Default: as they are done."),
    ] = None,
    input_tokens: Annotated[
        int, typer.Option("--input-tokens", min=1, max=1_000_000, help="Of each prompt, random.")
    ] = 256,
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", min=1, max=1_000_000, help="Of each answer, all.")
    ] = 64,
    timeout: Annotated[
        str, typer.Option("--timeout", help="For all of it; then the job is removed.")
    ] = "30m",
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the job and its log, for an hour.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Put load on SERVICE from a job in its namespace, and compare the times with its targets."""

    def answer() -> Exit:
        check_names(service, namespace)
        limit_s = round(seconds_of(timeout))
        if limit_s < 1:
            raise InputError(f"--timeout {timeout}: a second at least")
        load = Load(requests, concurrency, rate, input_tokens, output_tokens, limit_s)

        async def act(client: Client, key: Key, body: dict[str, Any]) -> Exit:
            run = Run(client, key, load, limit_s)
            try:
                return await run.go(body, keep=keep, output=output)
            except StokerError as error:
                if isinstance(error, CommandError):
                    raise
                raise told(error, Key(key.namespace, ""), JOBS) from error

        return with_service(service, Where(namespace, kubeconfig, context), act)

    finish(answer)


@dataclass(slots=True)
class Run:
    """One benchmark."""

    client: Client
    key: Key
    load: Load
    limit_s: int

    async def go(self, body: Mapping[str, Any], *, keep: bool, output: Output) -> Exit:
        """Make the job, follow it, remove it, and tell."""
        replica = await self._replica(mapping(body.get("status")))
        made = await self._make(replica)
        name = str(made["metadata"]["name"])
        try:
            log = await self._follow(name)
        finally:
            if not keep:
                await asyncio.shield(self._remove(name))
        raw = benchjob.result_in(log)
        if raw is None:
            raise CommandError(
                f"{self.key}: the benchmark failed: {plain(benchjob.last_words(log))}",
                Exit.UNHEALTHY,
            )
        told_of = benchjob.report(raw, self.load, benchjob.targets_of(body))
        data = {"service": str(self.key), **told_of}
        if output is Output.TABLE:
            show(Console(highlight=False), str(self.key), told_of)
        else:
            print_data(data, output)
        return Exit.DONE if told_of["completed"] and not told_of["failed"] else Exit.UNHEALTHY

    async def _replica(self, status: Mapping[str, Any]) -> Replica:
        """From a workload, which is there at zero too; where pods form groups, from a pod."""
        labels = naming.selector(self.key.name, Component.ENGINE)
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
        revision = status.get("revision")
        found = await running.read_all(self.client, self._path(_DEPLOYMENT), query)
        found.sort(key=lambda each: _revision(each) != revision)
        specs = [
            mapping(mapping(mapping(each.get("spec")).get("template")).get("spec"))
            for each in found
        ]
        if not specs:
            pods = await running.read_all(self.client, self._path(POD), query)
            specs = [mapping(each.get("spec")) for each in pods]
        for spec in specs:
            replica = benchjob.replica_of(spec)
            cannot = "" if replica is None else benchjob.why_not(replica)
            if cannot:
                raise CommandError(f"{self.key}: {cannot}", Exit.REFUSED)
            if replica is not None:
                return replica
        raise CommandError(
            f"{self.key} has no replica to take image and model from yet; `stoker why "
            f"{self.key.name} -n {self.key.namespace}` says what it waits for",
            Exit.REFUSED,
        )

    async def _make(self, replica: Replica) -> dict[str, Any]:
        wanted = benchjob.job(self.key.namespace, self.key.name, replica, self.load, self.limit_s)
        query = {"fieldManager": naming.COMMAND_USER_AGENT}
        made = await self.client.write("POST", self._path(_JOB), wanted, query=query)
        policy = benchjob.network_policy(made, self.key.name, FrontendPorts().api)
        try:
            await self.client.write("POST", self._path(_POLICY), policy, query=query)
        except StokerError:
            await self._remove(str(made["metadata"]["name"]))
            raise
        return made

    async def _follow(self, name: str) -> str:
        """The whole log, once the job has ended; `CommandError` where it never began."""
        screen = screen_of(Console(stderr=True, highlight=False), SystemClock())
        begun = time.monotonic()
        selector = {"labelSelector": f"batch.kubernetes.io/job-name={name}"}
        with screen:
            while True:
                log, line, percent = "", "", None
                try:
                    body = await self.client.get(_JOB.path(self.key.namespace, name))
                    pods = await running.read_all(self.client, self._path(POD), selector)
                    log = await self._log(pods)
                    line = benchjob.waiting_of(pods) if not log else "it prepares its prompts"
                    ended = benchjob.failed_of(body)
                    if mapping(body.get("status")).get("succeeded"):
                        return log
                    if ended is not None and not ended.startswith("DeadlineExceeded"):
                        return log or ended
                    done = benchjob.progress_in(log)
                    if done is not None:
                        line, percent = (
                            f"{done[0]} of {done[1]} answered",
                            100 * done[0] // max(1, done[1]),
                        )
                except ClusterUnavailable:
                    line = "the API server is away"
                if time.monotonic() - begun > self.limit_s:
                    raise CommandError(
                        f"{self.key}: not within {duration(self.limit_s)} (--timeout): "
                        f"{plain(line)}",
                        Exit.TIMED_OUT,
                    )
                screen.tell(Progress(f"{self.key.namespace}/{name}", line, percent, line))
                await asyncio.sleep(_LOOK_S)

    async def _log(self, pods: list[dict[str, Any]]) -> str:
        if not pods or not loglines.sources(pods, previous=False):
            return ""
        path = POD.path(self.key.namespace, str(pods[0]["metadata"]["name"]), "log")
        try:
            async with self.client.stream(path, {"container": benchjob.CONTAINER}) as content:
                return (await content.read()).decode("utf-8", "replace")
        except (NotFound, Refused) as error:
            if "forbidden" in str(error):
                raise
            return ""

    async def _remove(self, name: str) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        try:
            await self.client.write("DELETE", _JOB.path(self.key.namespace, name), options)
        except NotFound:
            return
        except StokerError as error:
            typer.echo(
                f"job {name} is left, and ends by itself: {error}; `kubectl delete job {name} -n "
                f"{self.key.namespace}` removes it",
                err=True,
            )

    def _path(self, kind: Kind) -> str:
        return kind.path(self.key.namespace)


def _revision(body: Mapping[str, Any]) -> str | None:
    return text(mapping(mapping(body.get("metadata")).get("labels")).get(naming.LABEL_REVISION))


def show(console: Console, service: str, found: Mapping[str, Any]) -> None:
    """The report for people."""
    asked = (
        f"{service}: {found['completed']} of {found['requests']} requests answered, "
        f"{found['concurrency']} at once, {found['inputTokens']} tokens in, "
        f"{found['outputTokens']} out"
    )
    console.print(plain(asked), soft_wrap=True, markup=False)
    rates = titled("Throughput", "", "")
    for name, value in (
        ("duration", _seconds(found["durationSeconds"])),
        ("requests/s", _rate(found["requestsPerSecond"])),
        ("output tokens/s", _rate(found["outputTokensPerSecond"])),
        ("all tokens/s", _rate(found["totalTokensPerSecond"])),
    ):
        rates.add_row(name, value)
    console.print(rates)
    names = {
        "ttft": "first token",
        "itl": "between tokens",
        "tpot": "per token",
        "e2e": "whole answer",
    }
    table = titled("Times", "", "mean", *(each.upper() for each in benchjob.PERCENTILES))
    for name, words in names.items():
        times = found["seconds"][name]
        table.add_row(words, *(_seconds(times[each]) for each in ("mean", *benchjob.PERCENTILES)))
    console.print(table)
    for each in found["targets"]:
        console.print(_target(each, names[each["name"]]), soft_wrap=True)


def _target(each: Mapping[str, Any], words: str) -> str:
    style, verdict = ("green", "kept") if each["kept"] else ("bold red", "missed")
    if each["kept"] is None:
        style, verdict = "dim", "not measured"
    wanted, measured = _seconds(each["seconds"]), _seconds(each["measured"])
    limit = f"{each['percentile'].upper()} {measured} of at most {wanted}"
    return f"Target {words}: {limit}, [{style}]{verdict}[/]"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.1f}ms" if value < 1 else duration(value)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
