"""A real Kubernetes control plane for one test session: etcd, kube-apiserver and, if wanted, more.

It lives on loopback at ports that the system chose, in a folder of its own, and ends only what it
started. Nothing is faked: RBAC decides, PodSecurity and ValidatingAdmissionPolicy admit, garbage
collection and namespace deletion run when the controller manager does. There is no kubelet, so
pods are made and scheduled, but never start.

Two things make it safe to run several at once on one machine. A port is asked from the system and
used a moment later; should somebody else take it in between, the start is tried again with new
ports. And each process dies with the test session, even when that is killed outright (`setpriv
--pdeathsig`), so nothing is left behind.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2e.cluster import programs
from e2e.cluster.host import run
from tests.support.asking import Asking, RefusedError
from tests.support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

START_ATTEMPTS = 3
START_SECONDS = 90.0
STOP_SECONDS = 15.0
LOOPBACK = "127.0.0.1"
SERVICE_NETWORK = "10.96.0.0/24"
FRONT_PROXY = "front-proxy-client"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]}],
}


class ControlPlaneError(Exception):
    """The control plane did not start; the message quotes its log."""


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class ControlPlane:
    """Context manager around one control plane.

    `apiserver` names a program of the catalogue: `kube-apiserver`, `kube-apiserver-oldest` or
    `kube-apiserver-newest`. `controllers` adds the controller manager, `scheduler` the scheduler,
    `gates` features that are off by default, `definitions` kinds that are there before the garbage
    collector looks (it looks for new ones twice a minute), `audit` a log of every write
    (`writes()`), `aggregation` a front proxy for APIs that others serve, and autoscalers that look
    every two seconds and may go to zero.
    """

    folder: Path
    apiserver: str = "kube-apiserver"
    controllers: bool = False
    scheduler: bool = False
    audit: bool = False
    aggregation: bool = False
    gates: tuple[str, ...] = ()
    definitions: tuple[Path, ...] = ()
    port: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _programs: dict[str, Path] = field(default_factory=dict)
    _asked: Asking | None = None

    def __enter__(self) -> Self:
        names = ["etcd", self.apiserver, "kubectl"]
        names += ["kube-controller-manager"] if self.controllers else []
        names += ["kube-scheduler"] if self.scheduler else []
        self._programs = programs.ensure(names)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._authority.make()
        if self.aggregation:
            self.front_proxy.make()
            self.front_proxy.sign(FRONT_PROXY, f"/CN={FRONT_PROXY}")
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start()
            except ControlPlaneError:
                self._stop()
                if attempt == START_ATTEMPTS:
                    raise
            else:
                return self
        raise AssertionError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def _authority(self) -> Authority:
        return Authority(self.folder)

    @property
    def front_proxy(self) -> Authority:
        """Signs the API server's certificate towards APIs that others serve."""
        return Authority(self.folder / "front-proxy")

    # Using it

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of an administrator (group system:masters)."""
        return self.folder / "admin.kubeconfig"

    @property
    def version(self) -> str:
        """Version of the API server, for example v1.34.9."""
        answer: dict[str, str] = json.loads(self.kubectl("get", "--raw", "/version"))
        return answer["gitVersion"]

    def user(self, name: str, *groups: str) -> Path:
        """Return a kubeconfig of a user who has no rights but those that RBAC gives."""
        path = self.folder / f"{name.replace(':', '_')}.kubeconfig"
        if not path.exists():
            subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
            self._authority.sign(path.stem, subject)
            self._write_kubeconfig(path, self._authority.key_pair(path.stem))
        return path

    def service_account(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig that holds a token of an existing ServiceAccount."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=2h").strip()
        path = self.folder / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(path, {"token": token})
        return path

    def kubectl(
        self,
        *arguments: str,
        stdin: str | Mapping[str, Any] | None = None,
        kubeconfig: Path | None = None,
        timeout: float = 60,
    ) -> str:
        """Run kubectl, as the administrator unless told otherwise, and return what it printed."""
        done = self.try_kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig, timeout=timeout)
        if done.returncode != 0:
            raise RefusedError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def try_kubectl(
        self,
        *arguments: str,
        stdin: str | Mapping[str, Any] | None = None,
        kubeconfig: Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its outcome, good or bad. A mapping as input is sent as JSON."""
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        return run(
            *(self._programs["kubectl"], "--kubeconfig", kubeconfig or self.kubeconfig),
            *arguments,
            stdin=text,
            check=False,
            # One discovery cache a control plane: ports are used again by later ones.
            env={"KUBECACHEDIR": str(self.folder / "cache"), "KUBECONFIG": ""},
            timeout=timeout,
        )

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        """Call the API as the administrator, without kubectl's start; return status and answer."""
        return self._asking.request(method, path, body, kind=kind)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get … -o json` would, parsed; kubectl is not started."""
        return self._asking.get(*arguments)

    def apply(self, manifest: str | Mapping[str, Any], *arguments: str) -> None:
        """Apply a manifest server-side; text, and what has options, through kubectl."""
        if isinstance(manifest, str) or arguments:
            self.kubectl("apply", "--server-side", *arguments, "-f", "-", stdin=manifest)
        else:
            self._asking.apply(manifest)

    def namespace(self, name: str, *, enforce: str | None = None) -> str:
        """Make a namespace unless it is there, and return its name."""
        labels = {"pod-security.kubernetes.io/enforce": enforce} if enforce else {}
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return name

    def writes(self) -> list[dict[str, Any]]:
        """Return the audit events of all writes so far (needs `audit`)."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def log(self, part: str) -> str:
        """Return what a part has logged."""
        return (self.folder / f"{part}.log").read_text(errors="replace")

    # Starting and ending it

    def _start(self) -> None:
        etcd, peers, self.port = free_port(), free_port(), free_port()
        self._asked = None
        self._write_kubeconfig(self.kubeconfig, self._authority.key_pair("admin"))
        self._spawn("etcd", self._etcd_arguments(etcd, peers))
        self._spawn(self.apiserver, self._apiserver_arguments(etcd))
        self._wait_ready()
        for path in self.definitions:
            self.apply(path.read_text())
        if self.definitions:
            self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for wanted, name in (
            (self.controllers, "kube-controller-manager"),
            (self.scheduler, "kube-scheduler"),
        ):
            if wanted:
                path = self.user(f"system:{name}")
                self._write_kubeconfig(path, self._authority.key_pair(path.stem))
                self._spawn(name, self._controller_arguments(name, path))
        if self.controllers:
            self._wait_for_default_account()

    def _stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _spawn(self, name: str, arguments: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603
                ["setpriv", "--pdeathsig", "KILL", str(self._programs[name]), *arguments],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )

    def _wait_ready(self) -> None:
        context = self._tls()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._check_alive()
            try:
                address = f"{self.url}/readyz"
                with urllib.request.urlopen(address, context=context, timeout=5) as answer:  # noqa: S310
                    if answer.status == 200:
                        return
            except OSError:  # refused, or 500 until every post-start hook is done
                pass
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"not ready: {self.log(self.apiserver)[-2000:]}")
            time.sleep(0.1)

    @property
    def _asking(self) -> Asking:
        if self._asked is None:
            self._asked = Asking(self.url, self._tls())
        return self._asked

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._file("ca.crt")))
        context.load_cert_chain(self._file("admin.crt"), self._file("admin.key"))
        return context

    def _wait_for_default_account(self) -> None:
        # Pods are refused until the controller manager has made their default ServiceAccount.
        deadline = time.monotonic() + START_SECONDS
        while self.try_kubectl("get", "serviceaccount", "default", "-n", "default").returncode:
            self._check_alive()
            if time.monotonic() > deadline:
                raise ControlPlaneError(self.log("kube-controller-manager")[-2000:])
            time.sleep(0.2)

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ControlPlaneError(f"{name} ended: {self.log(name)[-2000:]}")

    def _etcd_arguments(self, port: int, peers: int) -> list[str]:
        client, peer = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peers}"
        return [
            f"--data-dir={self.folder / f'etcd-{port}'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data ends with the session
            "--log-level=warn",
        ]

    def _apiserver_arguments(self, etcd: int) -> list[str]:
        arguments = [
            f"--etcd-servers=http://{LOOPBACK}:{etcd}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.port}",
            f"--advertise-address={LOOPBACK}",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            f"--client-ca-file={self._file('ca.crt')}",
            f"--tls-cert-file={self._file('apiserver.crt')}",
            f"--tls-private-key-file={self._file('apiserver.key')}",
            f"--service-account-key-file={self._file('service-accounts.pub')}",
            f"--service-account-signing-key-file={self._file('service-accounts.key')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            "--enable-admission-plugins=PodSecurity,ValidatingAdmissionPolicy",
            "--profiling=false",
        ]
        if self.aggregation:
            front = self.front_proxy.folder
            arguments += [
                f"--requestheader-client-ca-file={front / 'ca.crt'}",
                f"--requestheader-allowed-names={FRONT_PROXY}",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={front / f'{FRONT_PROXY}.crt'}",
                f"--proxy-client-key-file={front / f'{FRONT_PROXY}.key'}",
                "--feature-gates=HPAScaleToZero=true",
            ]
        arguments += [f"--feature-gates={name}=true" for name in self.gates]
        if self.audit:
            policy = self._file("audit-policy.json")
            policy.write_text(json.dumps(_AUDIT_POLICY))
            log = self._file("audit.log")
            arguments += [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]
        return arguments

    def _controller_arguments(self, name: str, kubeconfig: Path) -> list[str]:
        arguments = [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
            f"--secure-port={free_port()}",
            f"--bind-address={LOOPBACK}",
        ]
        if name == "kube-controller-manager":
            arguments += [
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={self._file('service-accounts.key')}",
                f"--root-ca-file={self._file('ca.crt')}",
                # Nodes are said to be ready once: there is no kubelet that says so again.
                "--node-monitor-grace-period=2h",
                "--node-startup-grace-period=2h",
                # A claim may be seen before its volume, and is then looked at again so much later.
                "--pvclaimbinder-sync-period=500ms",
            ]
            if self.aggregation:
                arguments += [
                    "--horizontal-pod-autoscaler-sync-period=2s",
                    "--feature-gates=HPAScaleToZero=true",
                ]
        return arguments

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _write_kubeconfig(self, path: Path, user: Mapping[str, str]) -> None:
        authority = self._authority.certificate
        cluster = {"server": self.url, "certificate-authority-data": authority}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": path.stem, "user": dict(user)}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": path.stem}}],
            "current-context": "tests",
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
