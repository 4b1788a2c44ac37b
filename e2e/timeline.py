"""When did what happen in a namespace? A watch on its pods, read by demo, tests and benchmarks.

Times are of this machine's monotonic clock, taken when the watch delivers: the API server's own
timestamps have whole seconds. The watch starts from a list, so nothing between is missed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kubernetes import client, config, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """One step in the life of one object."""

    at: float
    kind: str  # Deployment, Pod
    name: str
    step: str  # created, scheduled, started, ready, unready, leaving, gone, replicas=N
    component: str


class Timeline:
    """Watches the pods and Deployments of one namespace in the background."""

    def __init__(self, kubeconfig: Path | None, namespace: str) -> None:
        self._api = client.ApiClient(_configuration(kubeconfig))
        self._namespace = namespace
        self._moments: list[Moment] = []
        self._known: set[tuple[str, str, str]] = set()
        self._replicas: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        core, apps = client.CoreV1Api(self._api), client.AppsV1Api(self._api)
        self._threads = [
            threading.Thread(target=self._follow, args=(core.list_namespaced_pod, self._pod)),
            threading.Thread(
                target=self._follow, args=(apps.list_namespaced_deployment, self._deployment)
            ),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    # -- questions -----------------------------------------------------------------------------

    def moments(self, since: float = 0.0) -> list[Moment]:
        """All steps since a time, in order."""
        with self._lock:
            return [moment for moment in self._moments if moment.at >= since]

    def first(
        self, step: str, *, component: str = "engine", since: float = 0.0, kind: str = "Pod"
    ) -> Moment | None:
        """The first step of that name since a time."""
        for moment in self.moments(since):
            if (moment.step, moment.component, moment.kind) == (step, component, kind):
                return moment
        return None

    def wait(
        self,
        step: str,
        *,
        component: str = "engine",
        since: float = 0.0,
        seconds: float = 240,
        kind: str = "Pod",
    ) -> Moment:
        """Wait for that step."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.first(step, component=component, since=since, kind=kind)
            if found is not None:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {component} {kind} was {step} within {seconds:.0f} s")

    # -- the watch -----------------------------------------------------------------------------

    def _follow(self, lister: Callable[..., Any], note: Callable[[str, Any], None]) -> None:
        while not self._stop.is_set():
            try:
                for event in watch.Watch().stream(  # type: ignore[no-untyped-call]
                    lister, self._namespace, timeout_seconds=300, _request_timeout=310
                ):
                    if self._stop.is_set():
                        return
                    note(event["type"], event["object"])
            except Exception:  # noqa: BLE001 - a torn watch is opened again
                self._stop.wait(0.2)

    def _add(self, kind: str, metadata: Any, step: str) -> None:
        labels = metadata.labels or {}
        moment = Moment(
            time.monotonic(), kind, metadata.name, step, labels.get("stoker.dev/component", "")
        )
        with self._lock:
            self._moments.append(moment)

    def _once(self, kind: str, metadata: Any, step: str) -> None:
        if (kind, metadata.uid, step) not in self._known:
            self._known.add((kind, metadata.uid, step))
            self._add(kind, metadata, step)

    def _pod(self, event: str, pod: Any) -> None:
        if event == "DELETED":
            self._once("Pod", pod.metadata, "gone")
            return
        self._once("Pod", pod.metadata, "created")
        conditions = {c.type: c.status == "True" for c in pod.status.conditions or []}
        if conditions.get("PodScheduled"):
            self._once("Pod", pod.metadata, "scheduled")
        statuses = pod.status.container_statuses or []
        if statuses and all(
            status.started is not None and status.state.running for status in statuses
        ):
            self._once("Pod", pod.metadata, "started")
        if conditions.get("Ready"):
            self._once("Pod", pod.metadata, "ready")
        if pod.metadata.deletion_timestamp is not None:
            self._once("Pod", pod.metadata, "leaving")

    def _deployment(self, event: str, deployment: Any) -> None:
        if event == "DELETED":
            self._once("Deployment", deployment.metadata, "gone")
            return
        self._once("Deployment", deployment.metadata, "created")
        replicas = deployment.spec.replicas
        if self._replicas.get(deployment.metadata.uid) != replicas:
            self._replicas[deployment.metadata.uid] = replicas
            self._add("Deployment", deployment.metadata, f"replicas={replicas}")


def _configuration(kubeconfig: Path | None) -> client.Configuration:
    configuration = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=None if kubeconfig is None else str(kubeconfig),
        client_configuration=configuration,
    )
    return configuration
