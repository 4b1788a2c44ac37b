"""What the demo does, in order, and what it measures on the way.

Each step leaves the service as the next one needs it. Times come from a watch on the namespace and
from the clients' own records; nothing is read from the API server's whole-second stamps.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from e2e.cluster import ClusterError, connect
from e2e.cluster.progress import Progress, say
from e2e.cluster.settings import NODE
from e2e.demo import paired
from e2e.demo.reach import Reach
from e2e.demo.report import conditions, seconds, spread
from e2e.engine import ensure_site_packages
from e2e.load import LoadClient, Mix, OpenLoop, Record, Request, Target, median, percentile, run
from e2e.models import PROMPTS, ensure_models
from e2e.stack import ENGINE_CLAIM, EXAMPLE, MODEL_CLAIM, OPERATOR_NAMESPACE, Stack, example
from e2e.timeline import Moment, Timeline
from e2e.traffic import Traffic, describe, lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.demo.report import Report

NAMESPACE = "demo"
NAME = "tiny"
STEPS = 9
SHOWN = PROMPTS[3]
"""The question whose answer everybody recognises."""
TEXTS = tuple(prompt.text for prompt in PROMPTS)


class LostRequestsError(AssertionError):
    """Requests were lost that should not have been."""


class Demo:
    """One run of it."""

    def __init__(self, report: Report) -> None:
        self.namespace, self.name = NAMESPACE, NAME
        self.url = ""
        self.local = True
        self._report = report
        self._number = 0
        self._leaving_since = self._last_answer = 0.0
        self._stack: Stack | None = None
        self._timeline: Timeline | None = None
        self._reach: Reach | None = None

    @property
    def stack(self) -> Stack:
        """Stoker; there once the cluster is."""
        assert self._stack is not None
        return self._stack

    @property
    def timeline(self) -> Timeline:
        """The watch on the namespace."""
        assert self._timeline is not None
        return self._timeline

    def run(self) -> None:
        """All of it."""
        begun = time.monotonic()
        for step in (
            self.prepare, self.install, self.clear, self.start, self.steady,
            self.burst, self.to_zero, self.wake, self.rollout,
        ):  # fmt: skip
            step()
        self._report.add("all", "the whole run", seconds(time.monotonic() - begun))

    def close(self) -> None:
        """End what only the demo needs; the service stays."""
        if self._timeline is not None:
            self._timeline.__exit__(None, None, None)
        if self._reach is not None:
            self._reach.close()

    def diagnosis(self) -> list[str]:
        """What the cluster says about a failure."""
        if self._stack is None:
            return []
        with contextlib.suppress(Exception):
            found = conditions(self.stack.get("inferenceservices.stoker.dev", NAME, NAMESPACE))
            pods = self.stack.kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide")
            operator = self.stack.kubectl("get", "pods", "-n", OPERATOR_NAMESPACE)
            return [*found, *pods.splitlines(), *operator.splitlines()]
        return ["the API server does not answer any more"]

    # -- steps -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """The cluster, the images, the engine's packages and the model."""
        with self._step("Cluster, images, engine and model") as begun:
            cluster = connect()
            self.local = cluster.mode == "local"
            self._stack = Stack(cluster, ensure_site_packages(), ensure_models())
            self._report.add("prepare", "cluster, images, model", seconds(time.monotonic() - begun))

    def install(self) -> None:
        """The chart, and a namespace with the model's claim."""
        with self._step("Install the chart"):
            before = self.stack.cluster.helm("list", "-n", OPERATOR_NAMESPACE, "-q").stdout.split()
            took = self.stack.install()
            self._report.add(
                "install", "helm upgrade --install --wait", seconds(took),
                "it was installed already" if before else "",
            )  # fmt: skip

    def clear(self) -> None:
        """Begin from nothing: no service of that name, and the claims that it wants."""
        with self._step("Namespace and claims; an earlier run's service goes"):
            if self._has_our_node():
                self.stack.prepare_namespace(NAMESPACE)
            else:
                self._check_claims()
            kind = "inferenceservices.stoker.dev"
            self.stack.kubectl("delete", kind, NAME, "-n", NAMESPACE, "--ignore-not-found")
            self.stack.wait_for(self._is_clear, f"the pods of an earlier {NAMESPACE}/{NAME}", 180)
            kubeconfig = self.stack.cluster.kubeconfig
            self._timeline = Timeline(kubeconfig, NAMESPACE).__enter__()
            time.sleep(1)

    def start(self) -> None:
        """Apply the README's example and ask at once: the answer comes when the engine is there."""
        with self._step("Apply docs/examples/tiny.yaml, and ask it something"):
            applied = time.monotonic()
            self.stack.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(EXAMPLE))
            written = self.timeline.wait("created", kind="Deployment", since=applied, seconds=60)
            created = self.timeline.wait("created", since=applied, seconds=60)
            self._tell(f"engine pod created after {seconds(created.at - applied)}")
            self.timeline.wait("ready", component="frontend", since=applied, seconds=120)
            self._reach = Reach(self.stack, NAME, NAMESPACE)
            self.url = self._reach.url()
            record = self._ask(SHOWN.text, 24)
            ready = self.timeline.wait("ready", since=applied, seconds=60)
            assert record.first_token is not None
            for name, at in (
                ("apply → engine Deployment written", written.at),
                ("apply → engine pod created", created.at),
                ("apply → engine Ready", ready.at),
                ("apply → first token", record.first_token),
            ):
                self._report.add("start", name, seconds(at - applied))
            answer = " ".join(record.text.split())
            self._report.add("start", f"“{SHOWN.text}”", "", f"“… {answer}”")
            self._tell(f"it says: {SHOWN.text} {answer}")

    def steady(self) -> None:
        """A few requests a second, and what the frontend has to do with their time."""
        with self._step("Steady load, and the same requests past the frontend"):
            mix = Mix(TEXTS, unary_tokens=16, stream_tokens=32, api="completions")
            records = run(Target(self.url, NAME), OpenLoop(mix, rate=2, seconds=12))
            self._check(records)
            unary = [r.seconds for r in records if r.kind == "unary" and r.seconds]
            first = [r.seconds_to_first_token for r in records if r.kind == "stream"]
            found = [value for value in first if value is not None]
            way = "through kubectl port-forward" if self._tunnelled() else ""
            for name, values in (
                ("unary, 16 tokens", unary), ("streamed, to the first token", found)
            ):  # fmt: skip
                shown = spread(percentile(values, 50), percentile(values, 95))
                self._report.add("steady", name, shown, way)
            self._report.add("steady", "what the frontend adds", *self._added())

    def burst(self) -> None:
        """Twelve at once, then silence: 1 → 2 → 1."""
        with self._step("A burst: 1 → 2 → 1"):
            with self._traffic(streams=8, unary=4, stream_tokens=100) as traffic:
                begun = time.monotonic()
                created = self.timeline.wait("created", since=begun, seconds=60)
                self._tell("the second replica is asked for")
                ready = self.timeline.wait("ready", since=created.at, seconds=240)
                self._tell("the second replica is Ready")
                time.sleep(2)
                over = time.monotonic()  # nothing more is sent; what is under way goes on
                records = traffic.finish()
            self._check(records)
            self._leaving_since = over
            self._last_answer = max(record.end or 0.0 for record in records)
            leaving = self._leaving(1)
            gone = self.timeline.wait("gone", since=over, seconds=120)
            for name, value in (
                ("12 requests at any time → second pod created", created.at - begun),
                ("… → second replica Ready", ready.at - begun),
                ("burst over → one replica told to leave", leaving.at - over),
                ("… → its pod gone", gone.at - over),
            ):
                self._report.add("burst 1 → 2 → 1", name, seconds(value))
            self._count("burst 1 → 2 → 1", records)

    def to_zero(self) -> None:
        """Silence."""
        with self._step("Scale to zero"):
            leaving = self._leaving(2)
            self.stack.wait_for(
                lambda: not self.stack.engine_pods(NAME, NAMESPACE), "the last engine to go", 90
            )
            self._report.add(
                "to zero", "last answer → last replica told to leave",
                seconds(leaving.at - self._last_answer), "scaleToZeroAfter: 20s",
            )  # fmt: skip

    def wake(self) -> None:
        """One request to a service without replicas: it is held, and answered."""
        with self._step("A request wakes it from zero"):
            time.sleep(5)  # the frontend tells of the first request after a silence
            asked = time.monotonic()
            record = self._ask(SHOWN.text, 24)
            created = self.timeline.wait("created", since=asked, seconds=5)
            section = "from zero"
            self._report.add(
                section, "request → engine pod created", seconds(created.at - record.start)
            )
            self._report.add(
                section, "request → its first token", seconds(record.seconds_to_first_token),
                "held meanwhile, answered without a retry",
            )  # fmt: skip

    def rollout(self) -> None:
        """A change of the spec that makes a new revision, while requests flow."""
        with self._step("A rollout under load"):
            with self._traffic(streams=2, unary=2, stream_tokens=100) as traffic:
                traffic.wait_streaming(1)
                begun = time.monotonic()
                self.stack.apply(example(NAME, NAMESPACE, context={"maxModelLen": 3072}))
                created = self.timeline.wait("created", since=begun, seconds=60)
                ready = self.timeline.wait("ready", since=created.at, seconds=240)
                self._tell("the new revision is Ready, the old one drains")
                gone = self.timeline.wait("gone", since=ready.at, seconds=120)
                time.sleep(2)
                records = traffic.finish()
            section = "rollout under load"
            self._report.add(section, "change → new revision Ready", seconds(ready.at - begun))
            self._report.add(section, "… → old revision gone", seconds(gone.at - begun))
            self._count(section, records)
            self._check(records)

    # -- hands -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, title: str) -> Iterator[float]:
        self._number += 1
        self._report.step = title
        if self._number == 1:  # its parts show their own progress
            say(f"  [1/{STEPS}] {title}")
            yield time.monotonic()
            return
        with Progress(title, self._number, STEPS):
            yield time.monotonic()

    def _tell(self, words: str) -> None:
        say(("\r\033[K" if sys.stderr.isatty() else "") + f"      {words}")

    def _ask(self, prompt: str, tokens: int) -> Record:
        async def send() -> Record:
            async with LoadClient(
                Target(self.url, NAME, total_seconds=300, silent_seconds=300)
            ) as client:
                return await client.send(Request("stream", prompt, tokens, api="completions"))

        record = asyncio.run(send())
        self._check([record])
        return record

    def _traffic(self, streams: int, unary: int, stream_tokens: int) -> Traffic:
        return Traffic(
            self.url, NAME, streams=streams, unary=unary, prompts=TEXTS,
            stream_tokens=stream_tokens, unary_tokens=16,
        )  # fmt: skip

    def _added(self) -> tuple[str, str]:
        engine = None if self._reach is None else self._reach.engine_url()
        if engine is None:
            return "-", "the engine itself cannot be reached from here to compare"
        pairs = paired.measure(self.url, engine, NAME, SHOWN.text, count=60)
        through, past = (seconds(median(side)) for side in (pairs.through, pairs.past))
        note = f"{len(pairs.added)} pairs, one token: {through} through it, {past} past it"
        return f"p50 {seconds(median(pairs.added))}", note

    def _leaving(self, number: int) -> Moment:
        found: list[Moment] = []

        def enough() -> bool:
            found[:] = [
                moment
                for moment in self.timeline.moments(self._leaving_since)
                if (moment.step, moment.component, moment.kind) == ("leaving", "engine", "Pod")
            ]
            return len(found) >= number

        self.stack.wait_for(enough, f"replica {number} to be told to leave", 120, every=0.05)
        return found[number - 1]

    def _count(self, section: str, records: list[Record]) -> None:
        failed = len(lost(records))
        self._report.add(section, "requests, failed", f"{len(records)}, {failed}")

    @staticmethod
    def _check(records: list[Record]) -> None:
        if lost(records):
            raise LostRequestsError(describe(lost(records)))

    def _tunnelled(self) -> bool:
        return self._reach is not None and self._reach.tunnelled

    def _is_clear(self) -> bool:
        return not self.stack.engine_pods(NAME, NAMESPACE) + self.stack.frontend_pods(
            NAME, NAMESPACE
        )

    def _has_our_node(self) -> bool:
        found = self.stack.cluster.kubectl("get", "node", NODE, check=False)
        return found.returncode == 0

    def _check_claims(self) -> None:
        """On a cluster elsewhere its administrator provides the folders that we mount here."""
        stack = self.stack
        wanted: dict[str, Any] = {MODEL_CLAIM: stack.models, ENGINE_CLAIM: stack.site_packages}
        for claim, folder in wanted.items():
            found = stack.cluster.kubectl(
                "get", "persistentvolumeclaim", claim, "-n", NAMESPACE, check=False
            )
            if found.returncode != 0:
                raise ClusterError(
                    f"The nodes of this cluster do not have the folders of this machine: make a "
                    f"claim {claim!r} in the namespace {NAMESPACE!r} with a copy of {folder}."
                )
