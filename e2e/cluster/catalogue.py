"""Which programs the cluster is made of, at which version, and where each may come from.

The versions are not written here: each program has a Go module of its own under `tools/`, whose
go.mod pins it and whose go.sum pins every source below it. One module a program, because they pin
different versions of the same Kubernetes libraries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.settings import TOOLS, ClusterError, architecture, cache

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
# Not Debian's: 1.6 mounts no images as volumes.
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
_CONTAINERD = "github.com/containerd/containerd/v2"
_PROMETHEUS = "github.com/prometheus/prometheus"
_KUBERNETES_URL = "https://dl.k8s.io/v{version}/bin/linux/{arch}/{name}"


@dataclass(frozen=True)
class Program:
    """One program: how it is called, which module pins it, what an official download looks like."""

    name: str
    module: str
    """Folder under `tools/`."""
    package: str
    """Go package to build."""
    requirement: str
    """Go module in go.mod whose version is the program's version."""
    url: str = ""
    """Official download; empty where there is none or none with a checksum."""
    checksum_suffix: str = ".sha256"
    member: str = ""
    """Path inside the archive; empty when the download is the program itself."""
    tags: str = ""
    """Build tags, which leave out what the tests never use."""

    @property
    def version(self) -> str:
        """The version that go.mod pins, without the leading v."""
        text = (TOOLS / self.module / "go.mod").read_text()
        found = re.search(
            rf"^(?:require )?\s*{re.escape(self.requirement)} v(\S+)", text, re.MULTILINE
        )
        if not found:
            raise ClusterError(
                f"tools/{self.module}/go.mod does not pin {self.requirement}: restore the file."
            )
        return found.group(1)

    @property
    def command(self) -> str:
        """The file's name: `kube-apiserver` also for the oldest and the newest of them."""
        kubernetes = self.requirement == "k8s.io/kubernetes"
        return self.package.rsplit("/", 1)[-1] if kubernetes else self.name

    @property
    def path(self) -> Path:
        """Where the finished program lies."""
        return cache() / "bin" / f"{self.command}-{self.version}" / self.command

    def fill(self, pattern: str) -> str:
        """Put version and machine type into a pattern."""
        return pattern.format(version=self.version, arch=architecture(), name=self.command)

    def linker_flags(self) -> str:
        """Strip; and tell those their version that ask for it: Kubernetes and Prometheus."""
        major, minor = self.version.split(".")[:2]
        if self.requirement == _PROMETHEUS:
            # Its module counts v3.15.0 as v0.315.0.
            release = f"{minor[0]}.{int(minor[1:])}.{self.version.split('.')[2]}"
            return f"-s -w -X github.com/prometheus/common/version.Version={release}"
        if self.requirement != "k8s.io/kubernetes":
            return "-s -w"
        there = "k8s.io/component-base/version"
        return (
            f"-s -w -X {there}.gitVersion=v{self.version} "
            f"-X {there}.gitMajor={major} -X {there}.gitMinor={minor}"
        )


def _kubernetes(name: str, module: str, program: str) -> Program:
    return Program(
        name,
        module,
        f"k8s.io/kubernetes/cmd/{program}",
        "k8s.io/kubernetes",
        _KUBERNETES_URL,
    )


def _containerd(name: str) -> Program:
    """Containerd or what comes with it, without the snapshotters that need a C library."""
    package = f"{_CONTAINERD}/cmd/{name}"
    return Program(name, "containerd", package, _CONTAINERD, tags="no_btrfs,no_devmapper,no_zfs")


def _prometheus(name: str) -> Program:
    """Prometheus or its tool, with the one service discovery that a cluster needs."""
    package = f"{_PROMETHEUS}/cmd/{name}"
    return Program(
        name, "prometheus", package, _PROMETHEUS, tags="remove_all_sd,enable_kubernetes_sd"
    )


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "etcd",
            "etcd",
            "go.etcd.io/etcd/server/v3",
            "go.etcd.io/etcd/server/v3",
        ),
        *(_kubernetes(name, "kubernetes", name) for name in KUBERNETES),
        *(_containerd(name) for name in CONTAINERD),
        Program(
            "coredns",
            "coredns",
            "github.com/coredns/coredns",
            "github.com/coredns/coredns",
            "https://github.com/coredns/coredns/releases/download/v{version}/"
            "coredns_{version}_linux_{arch}.tgz",
            member="coredns",
        ),
        Program(
            "registry",
            "registry",
            "github.com/distribution/distribution/v3/cmd/registry",
            "github.com/distribution/distribution/v3",
            "https://github.com/distribution/distribution/releases/download/v{version}/"
            "registry_{version}_linux_{arch}.tar.gz",
            member="registry",
        ),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            "https://get.helm.sh/helm-v{version}-linux-{arch}.tar.gz",
            ".sha256sum",
            "linux-{arch}/helm",
        ),
        Program(
            "kube-router",
            "kube-router",
            "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
            "github.com/cloudnativelabs/kube-router/v2",
        ),
        Program(
            "epp",
            "epp",
            "sigs.k8s.io/gateway-api-inference-extension/cmd/epp",
            "sigs.k8s.io/gateway-api-inference-extension",
        ),
        Program(
            "lws",
            "lws",
            "sigs.k8s.io/lws/cmd",
            "sigs.k8s.io/lws",
        ),
        Program(
            "karpenter",
            "karpenter",
            "sigs.k8s.io/karpenter/kwok",  # Karpenter itself, with the provider that needs no cloud
            "sigs.k8s.io/karpenter",
        ),
        Program(
            "kwok",
            "kwok",
            "sigs.k8s.io/kwok/cmd/kwok",
            "sigs.k8s.io/kwok",
        ),
        Program(
            "minio",  # an S3 to fetch models from, for tests
            "minio",
            "github.com/minio/minio",
            "github.com/minio/minio",
        ),
        _prometheus("prometheus"),
        _prometheus("promtool"),
        _kubernetes("kube-apiserver-newest", "kubernetes-newest", "kube-apiserver"),
        _kubernetes("kube-apiserver-oldest", "kubernetes-oldest", "kube-apiserver"),
    )
}
# What `up` itself needs; the rest is for images and for tests of the API.
CLUSTER_PROGRAMS = ("etcd", *KUBERNETES, *CONTAINERD, "coredns", "registry", "kube-router", "helm")
