"""What happens to a cluster on a bad day, done on purpose, with what it hit counted.

A chaos run proves nothing about requests that were not there. So each event notes its exposure:
how many requests the pod that is hit was computing or had waiting (the engine's own gauges), and
how many of them must have been streams (all but the unary ones that were in flight anywhere).
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from e2e.stack import OPERATOR_NAMESPACE, container_pids, is_ready, process_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.load.records import Record
    from e2e.stack import Stack
    from e2e.traffic import Traffic

ENOUGH_REQUESTS = 8
ENOUGH_STREAMS = 4


@dataclass
class Event:
    """One thing that was done, and what it was done to."""

    kind: str
    pod: str
    at: float
    requests: int
    """In flight on the pod that was hit."""
    streams: int
    """At least so many of these were streams."""
    in_flight: int
    """In flight anywhere."""
    seconds: float = 0.0
    """Until the service was whole again."""

    def exposed(self) -> bool:
        """Whether the event could have harmed as many requests as the promise speaks of."""
        return self.requests >= ENOUGH_REQUESTS and self.streams >= ENOUGH_STREAMS

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def engine_load(pod: dict[str, Any]) -> int:
    """Requests that an engine computes or has waiting, by its own gauges."""
    url = f"http://{pod['status']['podIP']}:8000/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(names))


@dataclass
class Chaos:
    """Does things to one service while traffic flows."""

    stack: Stack
    service: str
    namespace: str
    traffic: Traffic

    # -- victims -------------------------------------------------------------------------------

    def engines(self) -> list[dict[str, Any]]:
        """Ready engine pods, the busiest first."""
        pods = [p for p in self.stack.engine_pods(self.service, self.namespace) if is_ready(p)]
        return sorted(pods, key=engine_load, reverse=True)

    def wait_exposed(self, pod: dict[str, Any], seconds: float = 90) -> None:
        """Wait until enough is in flight on a pod that hitting it proves something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            load, unary = engine_load(pod), self._unary()
            if load >= ENOUGH_REQUESTS and load - unary >= ENOUGH_STREAMS:
                return
            time.sleep(0.2)

    # -- events --------------------------------------------------------------------------------

    def scale_down(self, replicas: int) -> Event:
        """Fewer replicas by the user's hand, while the one that will go is busy."""
        # Which of them goes is Stoker's choice where it knows their load, else the ReplicaSet's.
        loads, unary = self._loads_exposed()
        flying = len(self.traffic.in_flight())
        event = Event("scale-down", "", time.monotonic(), 0, 0, flying)
        self._scale(replicas)
        self.stack.wait_ready_engines(self.service, self.namespace, replicas)
        gone = set(loads) - {pod["metadata"]["name"] for pod in self.engines()}
        event.pod = ",".join(sorted(gone))
        event.requests = min((loads[name] for name in gone), default=0)
        event.streams = max(0, event.requests - unary)
        return self._whole(event)

    def scale_up(self, replicas: int) -> None:
        """Back to so many replicas; no event, nothing can be lost by it."""
        self._scale(replicas)
        self.stack.wait_ready_engines(self.service, self.namespace, replicas)

    def rollout(self, number: int) -> Event:
        """A change of the spec that makes a new revision."""
        pods = self.engines()
        self.wait_exposed(pods[0])
        event = self._event("rollout", pods[0])
        self._patch({"spec": {"context": {"maxModelLen": 3000 + number}}})
        names = {pod["metadata"]["name"] for pod in pods}
        self.stack.wait_for(
            lambda: not names & {p["metadata"]["name"] for p in self._all_engines()},
            "the old revision to be gone",
            420,
        )
        return self._whole(event)

    def delete_engine(self) -> Event:
        """Delete an engine pod, as an eviction or a person does."""
        pod = self.engines()[0]
        event = self._exposed("engine pod deleted", pod)
        self._delete(pod)
        return self._gone(event, pod)

    def evict_engine(self) -> Event:
        """Evict an engine pod, as a node autoscaler does; its budget lets no second one go yet."""
        pod, other = self.engines()[:2]
        event = self._exposed("engine pod evicted", pod)
        assert self._evict(pod), "the budget allows one"
        assert not self._evict(other), "the budget allows one at a time"
        return self._gone(event, pod)

    def evict_all(self) -> Event:
        """What `kubectl drain` does to the service's pods: evict each, as its budget allows."""
        engines = self.engines()
        self.wait_exposed(engines[0])
        event = self._event("drain", engines[0])
        waiting = [*engines, *self.stack.frontend_pods(self.service, self.namespace)]
        deadline = time.monotonic() + 600
        while waiting and time.monotonic() < deadline:
            waiting = [pod for pod in waiting if not self._evict(pod)]
            time.sleep(1)
        assert not waiting, "the budget never allowed the drain to go on"
        names = {pod["metadata"]["uid"] for pod in engines}
        self.stack.wait_for(
            lambda: not names & {p["metadata"]["uid"] for p in self._all_engines()},
            "the evicted engines to be gone",
            300,
        )
        return self._whole(event)

    def delete_frontend(self) -> Event:
        """Delete a frontend pod; every request in flight goes through it."""
        pod = next(p for p in self.stack.frontend_pods(self.service, self.namespace) if is_ready(p))
        flying = self.traffic.in_flight()
        event = Event(
            "frontend pod deleted", pod["metadata"]["name"], time.monotonic(), len(flying),
            sum(record.kind == "stream" for record in flying), len(flying),
        )  # fmt: skip
        self._delete(pod)
        return self._gone(event, pod)

    def kill_operator(self) -> Event:
        """SIGKILL to every process of the leading operator pod."""
        holder = json.loads(
            self.stack.kubectl("get", "lease", "-n", OPERATOR_NAMESPACE, "-o", "json")
        )["items"][0]["spec"]["holderIdentity"]
        pods = self.stack.list("pods", OPERATOR_NAMESPACE)
        pod = next(p for p in pods if p["metadata"]["name"] in holder)
        flying = self.traffic.in_flight()
        event = Event(
            "operator killed", pod["metadata"]["name"], time.monotonic(), len(flying),
            sum(record.kind == "stream" for record in flying), len(flying),
        )  # fmt: skip
        kill_pod(pod)

        def replaced() -> bool:
            leases = json.loads(
                self.stack.kubectl("get", "lease", "-n", OPERATOR_NAMESPACE, "-o", "json")
            )["items"]
            spec = leases[0]["spec"]
            return bool(spec.get("holderIdentity")) and spec["holderIdentity"] != holder

        self.stack.wait_for(replaced, "another leader", 60)
        event.seconds = time.monotonic() - event.at
        return event

    # -- shared --------------------------------------------------------------------------------

    def _all_engines(self) -> list[dict[str, Any]]:
        return self.stack.engine_pods(self.service, self.namespace)

    def _unary(self) -> int:
        return sum(record.kind == "unary" for record in self.traffic.in_flight())

    def _event(self, kind: str, pod: dict[str, Any]) -> Event:
        load, unary = engine_load(pod), self._unary()
        name = pod["metadata"]["name"]
        flying = len(self.traffic.in_flight())
        return Event(kind, name, time.monotonic(), load, max(0, load - unary), flying)

    def _exposed(self, kind: str, pod: dict[str, Any], seconds: float = 90) -> Event:
        """The event as soon as it is exposed: a look of its own would find other streams."""
        deadline = time.monotonic() + seconds
        event = self._event(kind, pod)
        while not event.exposed() and time.monotonic() < deadline:
            time.sleep(0.2)
            event = self._event(kind, pod)
        return event

    def _loads_exposed(self, seconds: float = 90) -> tuple[dict[str, int], int]:
        """Requests in each engine, once any of them may be hit; and unary ones in all."""
        deadline = time.monotonic() + seconds
        while True:
            loads = {pod["metadata"]["name"]: engine_load(pod) for pod in self.engines()}
            unary, least = self._unary(), min(loads.values())
            if least >= ENOUGH_REQUESTS and least - unary >= ENOUGH_STREAMS:
                return loads, unary
            if time.monotonic() > deadline:
                return loads, unary
            time.sleep(0.2)

    def _scale(self, replicas: int) -> None:
        name = f"inferenceservices.stoker.dev/{self.service}"
        self.stack.kubectl("scale", name, "-n", self.namespace, f"--replicas={replicas}")

    def _patch(self, patch: dict[str, Any]) -> None:
        self.stack.kubectl(
            "patch", "inferenceservices.stoker.dev", self.service, "-n", self.namespace,
            "--type=merge", "-p", json.dumps(patch),
        )  # fmt: skip

    def _delete(self, pod: dict[str, Any]) -> None:
        self.stack.kubectl(
            "delete", "pod", pod["metadata"]["name"], "-n", self.namespace, "--wait=false"
        )

    def _evict(self, pod: dict[str, Any]) -> bool:
        name = pod["metadata"]["name"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        done = self.stack.cluster.kubectl(
            "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction), check=False
        )
        return done.returncode == 0 or "NotFound" in done.stderr

    def _gone(self, event: Event, pod: dict[str, Any]) -> Event:
        uid, lister = pod["metadata"]["uid"], self._lister(pod)
        self.stack.wait_for(
            lambda: uid not in {p["metadata"]["uid"] for p in lister()},
            f"pod {event.pod} to be gone",
            300,
        )
        return self._whole(event)

    def _lister(self, pod: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        if pod["metadata"]["labels"]["stoker.dev/component"] == "engine":
            return self._all_engines
        return lambda: self.stack.frontend_pods(self.service, self.namespace)

    def _whole(self, event: Event) -> Event:
        def whole() -> bool:
            found = self.stack.get("inferenceservices.stoker.dev", self.service, self.namespace)
            pods = [*self._all_engines(), *self.stack.frontend_pods(self.service, self.namespace)]
            status = (found or {}).get("status", {})
            return (
                status.get("readyReplicas") == status.get("desiredReplicas")
                and bool(pods)
                and all(is_ready(pod) for pod in pods)
            )

        self.stack.wait_for(whole, "the service to be whole again", 300)
        event.seconds = time.monotonic() - event.at
        return event


def kill_pod(pod: dict[str, Any], match: str = "") -> list[int]:
    """SIGKILL every process of a pod, or those whose command line holds a word."""
    killed = []
    for pid in container_pids(pod["metadata"]["uid"]):
        name = process_name(pid)
        if (match and match not in name) or name.startswith("/pause"):
            continue
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    return killed


def harmed(events: list[Event], records: list[Record]) -> dict[str, int]:
    """How many requests that were in flight at an event of each kind did not end complete."""
    counts: dict[str, int] = {}
    for event in events:
        hit = [r for r in records if r.was_in_flight(event.at) and r.outcome.value != "complete"]
        counts[event.kind] = counts.get(event.kind, 0) + len(hit)
    return counts
