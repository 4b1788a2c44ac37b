"""What a demo or a test holds in its hand: credentials, images, `kubectl` and `helm`.

Two modes. `local` is the cluster of this package. `current` is whatever the kubectl context points
at; nothing is started there, and images come from a registry that its nodes can reach.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster import host, lifecycle, programs, settings
from e2e.cluster.images import ensure_images
from e2e.cluster.settings import ClusterError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers."""

    mode: str
    """`local` or `current`."""
    kubeconfig: Path
    images: Mapping[str, str]
    """Address of each image that the cluster's nodes can pull, by short name."""
    programs: Mapping[str, Path]

    def environment(self) -> dict[str, str]:
        """Return the variables that let kubectl, helm and clients find this cluster."""
        path = f"{self.programs['kubectl'].parent}:{self.programs['helm'].parent}"
        own = settings.kubectl_environment() if self.mode == "local" else {}
        return {
            **own,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{path}:{os.environ.get('PATH', '')}",
        }

    def kubectl(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster."""
        return self._run("kubectl", arguments, stdin=stdin, check=check, timeout=timeout)

    def helm(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run helm against this cluster."""
        return self._run("helm", arguments, stdin=stdin, check=check, timeout=timeout)

    def _run(
        self,
        program: str,
        arguments: Iterable[str | Path],
        *,
        stdin: str | None,
        check: bool,
        timeout: float | None,
    ) -> subprocess.CompletedProcess[str]:
        command = (self.programs[program], *arguments)
        env = self.environment()
        return host.run(*command, stdin=stdin, check=check, timeout=timeout, env=env)

    def apply(self, *objects: Mapping[str, Any], check: bool = True) -> str:
        """Apply objects on the server's side; return what kubectl said, on either channel."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        arguments = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        done = self.kubectl(*arguments, stdin=json.dumps(items), check=check)
        return done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, or a list of them, as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)
        return found


def connect(mode: str | None = None, *, images: bool = True) -> Cluster:
    """Return a cluster that answers, starting the local one where it is asked for.

    Parameters
    ----------
    mode
        `local` or `current`; absent means the environment's `CLUSTER`, else `local`.
    images
        Whether to build and push images first; without, `Cluster.images` is empty.
    """
    chosen = mode or os.environ.get("CLUSTER") or "local"
    if chosen not in {"local", "current"}:
        raise ClusterError(f"CLUSTER is {chosen!r}: say `local` (the default) or `current`.")
    if chosen == "local":
        path = lifecycle.up()
    else:
        # With several files kubectl merges them; the first is the one that it writes to.
        first = os.environ.get("KUBECONFIG", "").split(":")[0]
        path = Path(first) if first else Path.home() / ".kube" / "config"
        if not path.exists():
            raise ClusterError(
                f"CLUSTER=current needs a kubectl context, and {path} is not there: set KUBECONFIG."
            )
    tools = programs.ensure(["kubectl", "helm"])
    cluster = Cluster(chosen, path, {}, tools)
    if chosen == "current" and cluster.kubectl("version", check=False, timeout=30).returncode != 0:
        raise ClusterError(
            f"The current kubectl context ({path}) does not answer: try `kubectl version`, and "
            f"mind that {settings.kubeconfig()} belongs to the local cluster."
        )
    if not images:
        return cluster
    return Cluster(chosen, path, ensure_images(mode=chosen), tools)
