"""A frontend on loopback: the product's own configuration, the real Envoy, picker and API server.

There is no kubelet here. Pods are objects whose status we write, and each pod's address is a
loopback address of its own with a small server on port 8000 that talks and reports like an engine,
down to the metrics that the picker reads. What is under test is everything in front of it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from stoker import naming
from stoker.api.v1alpha1 import Frontend
from stoker.model.load import FrontendSample
from stoker.model.platform import Platform
from stoker.naming import Component, Track
from stoker.render.envoy import render_envoy
from stoker.render.frontend import render_frontend
from stoker.render.frontend_input import FrontendInput, FrontendPorts, TrackPorts, TrackWeight
from stoker.render.frontend_picker import picker_arguments, render_picker_config
from stoker.render.timeouts import compute_timeouts
from stoker.telemetry.parse import frontend_sample
from tests.support.controlplane import ControlPlane, free_port

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

START_SECONDS = 60.0
NAMESPACE = "team"
CRDS = "sigs.k8s.io/gateway-api-inference-extension@v1.5.0/config/crd/bases"


def picker_crds() -> list[Path]:
    """Return the CRDs that the picker watches: the chart's, or the Go module's."""
    chart = Path(__file__).parents[3] / "charts" / "stoker" / "crds"
    found = sorted(chart.glob("inference.networking.*"))
    if not found:
        modules = Path(os.environ.get("GOMODCACHE") or Path.home() / "go/pkg/mod")
        found = sorted((modules / CRDS).glob("*.yaml"))
    return found


def spawn(
    name: str, folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that dies with us and logs into the folder."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            ["setpriv", "--pdeathsig", "KILL", *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


@dataclass
class Engine:
    """One engine pod: an object in the API server and a server at its address."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    folder: Path

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory kill would; the pod object stays Ready."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it at the end of a test."""
        if self.process.poll() is None:
            self.kill()


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    text: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The body, parsed."""
        answer: dict[str, Any] = json.loads(self.text)
        return answer

    @property
    def engine(self) -> str:
        """Which engine answered."""
        return self.headers.get("x-engine", "")


def make_input(service: str, **changes: Any) -> FrontendInput:
    """Return the input of a frontend with ports that nobody uses."""
    hold = changes.pop("hold", 30.0)
    frontend = Frontend(max_held=changes.pop("max_held", 100))
    ports = FrontendPorts(
        *(free_port() for _ in range(4)),  # type: ignore[arg-type] # mypy cannot count
        *(TrackPorts(*(free_port() for _ in range(3))) for _ in range(2)),
    )
    platform = Platform(
        operator_namespace="stoker-system",
        worker_image="worker",
        envoy_image="envoy",
        picker_image="picker",
        engines={},
        accelerators={},
        default_accelerator="cpu",
    )
    given: dict[str, Any] = {
        "service": service,
        "namespace": NAMESPACE,
        "frontend": frontend,
        "served_names": ("tiny", "small"),
        "platform": platform,
        "timeouts": compute_timeouts(hold_s=hold, drain_s=changes.pop("drain", 30.0)),
        "ports": ports,
        "access_log": True,
        **changes,
    }
    return FrontendInput(**given)


@dataclass
class FrontendRig:
    """A running frontend and its engine pods."""

    folder: Path
    plane: ControlPlane
    programs: dict[str, Path]
    given: FrontendInput
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    rights: Path = Path()  # the picker's own kubeconfig, with the rendered role and no more

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        kinds = ("ServiceAccount", "Role", "RoleBinding", "InferencePool")
        for manifest in render_frontend(self.given):
            if manifest["kind"] in kinds:
                self.plane.apply(manifest)
        account = naming.frontend(self.given.service)
        self.rights = self.plane.service_account(NAMESPACE, account)
        (self.folder / "envoy.json").write_text(render_envoy(self.given))
        (self.folder / "picker.json").write_text(render_picker_config(self.given))
        try:
            for track in self.given.tracks:
                self.start_picker(track.track)
            self.start_envoy()
            self.wait_until(self._up, "the frontend answers")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for engine in list(self.engines.values()):
            self.remove_engine(engine.name)
        for track in self.given.tracks:
            pool = naming.pool(self.given.service, track.track)
            self.plane.kubectl("delete", "inferencepool", pool, "-n", NAMESPACE, "--wait=false")

    def stop(self) -> None:
        """End Envoy and the pickers."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start_picker(self, track: Track) -> None:
        """Start the picker of a track."""
        env = {
            "KUBECONFIG": str(self.rights),
            "NAMESPACE": NAMESPACE,
            "POD_NAME": f"{naming.frontend(self.given.service)}-6c9f4d7b8-abcde",
        }
        arguments = picker_arguments(self.given, track, str(self.folder / "picker.json"))
        name = f"picker-{track.value}"
        self.processes[name] = spawn(
            name, self.folder, str(self.programs["epp"]), *arguments, env=env
        )

    def start_envoy(self) -> None:
        """Start Envoy."""
        program = str(self.programs["envoy"])
        self.processes["envoy"] = spawn(
            "envoy",
            self.folder,
            program,
            *("-c", str(self.folder / "envoy.json"), "--concurrency", "2", "--disable-hot-restart"),
            *("--drain-strategy", "immediate"),
            *("--log-level", "warning"),
        )

    # Engine pods

    def add_engine(
        self,
        name: str,
        address: str,
        *,
        revision: str = "r1",
        ready: bool = True,
        serve: bool = True,
        **behaviour: Any,
    ) -> Engine:
        """Make an engine pod at a loopback address, Ready or not."""
        arguments = [sys.executable, str(Path(__file__).parent / "engine.py"), name, address]
        arguments += [json.dumps(behaviour)]
        process = spawn(f"engine-{name}", self.folder, *(arguments if serve else ["sleep", "600"]))
        engine = Engine(name, address, process, self.folder)
        self.engines[name] = engine
        if serve:
            self.wait_until(lambda: _answers(address), f"engine {name} answers")
        labels = naming.labels(self.given.service, Component.ENGINE, revision)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "nodeName": "node",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "engine", "image": "engine"}],
            },
        }
        self.plane.apply(pod)
        self.set_ready(name, ready=ready)
        return engine

    def set_ready(self, name: str, *, ready: bool) -> None:
        """Write the pod's status, as its kubelet would."""
        address = self.engines[name].address
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        self.plane.kubectl(
            *("patch", "pod", name, "-n", NAMESPACE, "--subresource=status", "--type=merge"),
            *("-p", json.dumps({"status": status})),
        )

    def remove_engine(self, name: str) -> None:
        """Remove a pod and its server."""
        self.engines.pop(name).stop()
        self.plane.kubectl(
            "delete",
            "pod",
            name,
            "-n",
            NAMESPACE,
            "--force",
            "--grace-period=0",
            "--ignore-not-found",
        )

    # Asking

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.given.ports.api}"

    @property
    def ops(self) -> str:
        """Address of the ops port."""
        return f"http://127.0.0.1:{self.given.ports.ops}"

    async def load(self) -> FrontendSample:
        """Ask for the load as the operator does."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.ops}/load") as answer:
            return frontend_sample("frontend", await answer.text())

    async def held(self) -> int:
        """Requests at the frontend that no engine has yet."""
        return (await self.load()).held

    async def behave(self, name: str, **behaviour: Any) -> dict[str, int]:
        """Change how an engine behaves, and return what it has seen."""
        address = f"http://{self.engines[name].address}:8000/behave"
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, json=behaviour) as answer,
        ):
            seen: dict[str, int] = await answer.json()
            return seen

    async def wait_held(self, count: int) -> None:
        """Wait until so many requests are held."""
        await self.wait_for(count, self.held)

    async def wait_for(self, wanted: object, ask: Any) -> None:
        """Wait until an asynchronous question has the wanted answer."""
        deadline = time.monotonic() + START_SECONDS
        while (got := await ask()) != wanted:
            assert time.monotonic() < deadline, f"{got} instead of {wanted}"
            await asyncio.sleep(0.05)

    def wait_until(self, check: Any, what: str) -> None:
        """Wait until a check holds."""
        deadline = time.monotonic() + START_SECONDS
        while not check():
            assert time.monotonic() < deadline, f"not in {START_SECONDS} s: {what}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        """Return the ends of all logs."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in files)

    def _up(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended\n{self.logs()}"
        ready = all(
            _answers("127.0.0.1", self.given.ports.track(track.track).grpc)
            for track in self.given.tracks
        )
        return ready and _answers("127.0.0.1", self.given.ports.ops)

    def end_picker(self, track: Track = Track.STABLE, sign: int = signal.SIGKILL) -> None:
        """End a picker."""
        process = self.processes[f"picker-{track.value}"]
        process.send_signal(sign)
        process.wait()


def _answers(host: str, port: int = 8000) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


async def ask(
    session: aiohttp.ClientSession,
    rig: FrontendRig,
    path: str = "/v1/completions",
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    **fields: Any,
) -> Answer:
    """Send one request, without any retry of the client's own."""
    content = (
        body if body is not None else {"model": "tiny", "prompt": "Once", "max_tokens": 4, **fields}
    )
    data = io.BytesIO((content if isinstance(content, str) else json.dumps(content)).encode())
    began = time.monotonic()
    sent = {"content-type": "application/json", **(headers or {})}
    kwargs: dict[str, Any] = (
        {"data": data, "headers": sent} if method == "POST" else {"headers": headers or {}}
    )
    async with session.request(method, rig.url + path, **kwargs) as answer:
        text = await answer.text()
        found = {key.lower(): value for key, value in answer.headers.items()}
        return Answer(answer.status, found, text, time.monotonic() - began)


__all__ = [
    "NAMESPACE",
    "Answer",
    "Engine",
    "FrontendRig",
    "TrackWeight",
    "ask",
    "make_input",
    "picker_crds",
]
