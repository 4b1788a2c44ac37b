"""Up, down, status: the cluster's life, each step repeatable.

`up` looks first and does only what is missing, in the order in which parts need each other: the
API server needs etcd, the node needs containerd, the first pod needs the registry. What takes
long (control plane coming up, images for the first pods) runs side by side. `down` goes the other
way and then looks for traces; it fails loudly if it finds one.
"""

from __future__ import annotations

import contextlib
import ssl
import string
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import (
    components,
    host,
    images,
    network,
    owner,
    pki,
    processes,
    programs,
    remains,
    settings,
)
from e2e.cluster.progress import Progress, say
from e2e.cluster.settings import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MANIFESTS = Path(__file__).parent / "manifests"
_CONTROL = ("kube-controller-manager", "kube-scheduler")


def up() -> Path:
    """Bring the cluster up, or notice that it is, and return its kubeconfig."""
    host.check_system()
    with host.lock("cluster"):
        _clear_dead()
        fresh = owner.check() is None
        host.check_disk([settings.cache(), settings.state()])
        host.ensure_packages()
        paths = programs.ensure()
        if fresh:
            network.check_unused()
        owner.claim()
        try:
            _start(paths)
        except ClusterError:
            if fresh:
                say("  the cluster did not come up; its logs stay until `down`")
            raise
    return settings.kubeconfig()


def _clear_dead() -> None:
    """Clear what a cluster left that ended without `down`: killed, or the machine started anew.

    Whoever owned it, there is nothing left to collide with.
    """
    if owner.read() is None or any(processes.running(name) for name in components.ORDER):
        return
    say("  an earlier cluster ended without `down`: clearing what it left")
    _undo()


def _start(paths: Mapping[str, Path]) -> None:
    with Progress("network and certificates"):
        network.prepare()
        pki.make()
        _check_ports()
    pause = images.reference("pause")

    def start(names: Sequence[str]) -> None:
        for name in names:
            if processes.running(name):
                continue  # and leave its files alone: kube-proxy ends itself when they change
            processes.start(name, components.command(name, paths, pause))

    with Progress("control plane and first images"), ThreadPoolExecutor() as pool:
        start(["registry", "etcd"])
        processes.wait_for("registry", lambda: answers(f"http://{settings.REGISTRY}/v2/"), 20)
        first = pool.submit(images.ensure, ["pause", "coredns"])
        start(["kube-apiserver", "containerd"])
        processes.wait_for("kube-apiserver", lambda: answers(f"{_api()}/readyz"), 90)
        processes.wait_for("containerd", lambda: components.containerd_socket().exists(), 20)
        start(_CONTROL)
        built = first.result()
    with Progress("node and cluster DNS"):
        _apply(paths["kubectl"], built["coredns"])
        start(["kubelet", "kube-proxy"])
        _wait(paths["kubectl"], "wait", "--for=condition=Ready", f"node/{settings.NODE}")
        start(["kube-router"])  # it looks for its node once and gives up
        _wait(paths["kubectl"], "-n", "kube-system", "rollout", "status", "deployment/coredns")
        for name in ("kube-proxy", "kube-router"):
            port = settings.PORTS[f"{name} health"][1]
            _wait_healthy(name, f"http://{settings.NODE_ADDRESS}:{port}/healthz")
        for name in _CONTROL:
            processes.check_alive(name)


def _check_ports() -> None:
    """Refuse taken ports; runs once the node has its address, or binding to it would fail."""
    ports = settings.PORTS.items()
    free = {name: at for name, at in ports if not processes.running(name.split()[0])}
    try:
        host.check_ports(free)
    except ClusterError:
        if not any(processes.running(name) for name in components.ORDER):
            _undo()
        raise


def _api() -> str:
    return f"https://{settings.NODE_ADDRESS}:{settings.API_PORT}"


def answers(url: str) -> bool:
    """Whether a local server says yes."""
    context = ssl.create_default_context(cafile=str(pki.certificate("ca")))
    context.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _apply(kubectl: Path, coredns: str) -> None:
    """Apply the addons, again and again while the API server finishes its own set-up."""
    text = string.Template((_MANIFESTS / "addons.yaml").read_text()).substitute(
        coredns=coredns,
        dns_service=settings.DNS_SERVICE,
        storage_class=settings.STORAGE_CLASS,
    )
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    command = (kubectl, "--kubeconfig", settings.kubeconfig(), *apply)
    env = settings.kubectl_environment()
    processes.wait_for(
        "kube-apiserver",
        lambda: host.run(*command, stdin=text, check=False, env=env).returncode == 0,
        30,
    )


def _wait(kubectl: Path, *question: str) -> None:
    """Wait until kubectl confirms something; what goes wrong on the way is the kubelet's to say."""
    context: tuple[str | Path, ...] = (kubectl, "--kubeconfig", settings.kubeconfig())
    command = (*context, *question, "--timeout=5s")
    env = settings.kubectl_environment()
    processes.wait_for(
        "kubelet", lambda: host.run(*command, check=False, env=env).returncode == 0, 120
    )


def _wait_healthy(name: str, url: str) -> None:
    processes.wait_for(name, lambda: answers(url), 30)


def down(*, force: bool = False) -> None:
    """Take the cluster away and prove that nothing of it is left."""
    host.check_system()
    with host.lock("cluster"):
        if owner.read() is None:
            say("  there is no cluster here")
        if not force:
            owner.check()
        made = _undo()
        if left := remains.traces(made):
            raise ClusterError(
                f"`down` left traces ({'; '.join(left[:6])}): run it again, and report it if they "
                "stay."
            )


def _undo() -> list[str]:
    """Undo everything; return the folders that were to go."""
    known = owner.read()
    made = known.made_folders if known else []
    with Progress("pods and processes"):
        # The kubelet first, or it starts again what is killed below it.
        for name in (*components.GUESTS, "kubelet", *_CONTROL):
            processes.stop(name)
        remains.end_containers()
        for name in reversed(components.ORDER):
            processes.stop(name)
    with Progress("mounts, network and files"):
        network.clean(known.sysctls if known else {})
        remains.clean(made)
    return made


def status() -> bool:
    """Print what runs; say whether all of it does."""
    known = owner.read()
    if known is None:
        made: list[str] = []
        left = remains.traces(made)
        print("no cluster here" + (f", but traces of one: {'; '.join(left[:6])}" if left else ""))
        return False
    print(f"checkout    {known.checkout}\nkubeconfig  {settings.kubeconfig()}")
    alive = True
    for name in components.ORDER:
        pid = processes.running(name)
        alive = alive and pid is not None
        words = f"pid {pid}" if pid else f"not running: {processes.last_words(name)}"
        print(f"{name:24} {words}")
    kubectl = programs.find("kubectl")
    if kubectl and processes.running("kube-apiserver"):
        command = (kubectl, "--kubeconfig", settings.kubeconfig(), "get", "nodes,pods", "-A")
        with contextlib.suppress(ClusterError):
            print(host.run(*command, env=settings.kubectl_environment()).stdout)
    return alive


def logs(name: str, lines: int = 100) -> None:
    """Print the end of one part's log, or which logs there are."""
    known = sorted(path.stem for path in (settings.state() / "log").glob("*.log"))
    if name not in known:
        raise ClusterError(
            f"There is no log of {name or 'nothing'}: say one of {', '.join(known) or 'none'} "
            "(logs appear with `up`)."
        )
    print("\n".join(processes.log_path(name).read_text(errors="replace").splitlines()[-lines:]))
