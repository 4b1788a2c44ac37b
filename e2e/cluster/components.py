"""How each part is configured and started: data in, command lines and files out.

The settings that are not the usual ones each answer to something met on small or nested machines;
the reason stands beside the setting. Nothing is started here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster import pki
from e2e.cluster.host import CNI_PLUGINS
from e2e.cluster.settings import (
    API_PORT,
    BRIDGE,
    DNS_SERVICE,
    NODE,
    NODE_ADDRESS,
    POD_NETWORK,
    PORTS,
    REGISTRY,
    SERVICE_NETWORK,
    cache,
    state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# The order of starting; stopping goes the other way.
ORDER = (
    "registry",
    "etcd",
    "kube-apiserver",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kube-router",
)
# Of API server and kubelet; on by default in later versions.
GATES = ("ImageVolume",)
# What a test starts for its own time (`autoscaler`); `down` ends these first.
GUESTS = ("karpenter", "kwok")


def containerd_socket() -> Path:
    """Socket of our own containerd."""
    return state() / "run" / "containerd.sock"


def _file(name: str, content: str | Mapping[str, Any]) -> Path:
    path = state() / "etc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    return path


def _etcd() -> list[str]:
    address, port = PORTS["etcd"]
    peers = "http://{}:{}".format(*PORTS["etcd peers"])
    here = f"https://{address}:{port}"
    return [
        f"--data-dir={state() / 'etcd'}",
        f"--listen-client-urls={here}",
        f"--advertise-client-urls={here}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        f"--cert-file={pki.certificate('etcd')}",
        f"--key-file={pki.key('etcd')}",
        f"--trusted-ca-file={pki.certificate('ca')}",
        "--client-cert-auth",
        "--unsafe-no-fsync",  # the data lives as long as the cluster; a slow disk is the usual one
        "--log-level=warn",
    ]


def _apiserver() -> list[str]:
    etcd = "https://{}:{}".format(*PORTS["etcd"])
    issuer = "https://kubernetes.default.svc.cluster.local"
    return [
        f"--advertise-address={NODE_ADDRESS}",
        f"--bind-address={NODE_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--etcd-servers={etcd}",
        f"--etcd-cafile={pki.certificate('ca')}",
        f"--etcd-certfile={pki.certificate('etcd')}",
        f"--etcd-keyfile={pki.key('etcd')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--client-ca-file={pki.certificate('ca')}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--service-account-issuer={issuer}",
        f"--service-account-key-file={pki.folder() / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki.key('service-accounts')}",
        f"--kubelet-certificate-authority={pki.certificate('ca')}",
        f"--kubelet-client-certificate={pki.certificate('apiserver-client')}",
        f"--kubelet-client-key={pki.key('apiserver-client')}",
        "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
        "--profiling=false",
        *(f"--feature-gates={name}=true" for name in GATES),
    ]


def _controller_manager() -> list[str]:
    config = pki.kubeconfig("kube-controller-manager")
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={pki.certificate('ca')}",
        f"--service-account-private-key-file={pki.key('service-accounts')}",
        f"--cluster-signing-cert-file={pki.certificate('ca')}",
        f"--cluster-signing-key-file={pki.key('ca')}",
        # A claim that was made before its volume was seen waits so long; 15 s by default.
        "--pvclaimbinder-sync-period=2s",
        "--profiling=false",
    ]


def _scheduler() -> list[str]:
    config = pki.kubeconfig("kube-scheduler")
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    ]


def containerd_config(pause: str, shim: Path) -> str:
    """Return containerd's configuration: everything below our own folder, our own socket."""
    here = state() / "containerd"
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{here / "root"}"
state = "{here / "state"}"
[grpc]
  address = "{containerd_socket()}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{here / "opt"}"
[plugins."io.containerd.nri.v1.nri"]
  disable = true  # its socket has one place on a machine
{cri}]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # nested machines refuse to lower it: every sandbox would die
  disable_apparmor = true        # its profile would stay in the kernel after `down`
  netns_mounts_under_state_dir = true
{cri}.cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{state() / "etc" / "cni"}"
{cri}.registry]
  config_path = "{state() / "etc" / "certs.d"}"
{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "{shim}"
{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{here / "runc"}"
"""


def plain_registry(netloc: str) -> Path:
    """Let containerd pull from a registry without TLS; it looks at each pull."""
    hosts = f'server = "http://{netloc}"\n[host."http://{netloc}"]\n'
    return _file(f"certs.d/{netloc}/hosts.toml", hosts + '  capabilities = ["pull", "resolve"]\n')


def _containerd(pause: str, shim: Path) -> list[str]:
    plain_registry(REGISTRY)
    ipam = {
        "type": "host-local",
        "dataDir": str(state() / "cni"),
        "ranges": [[{"subnet": POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod may reach itself through its own Service
        "ipam": ipam,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "0.4.0", "name": BRIDGE, "plugins": [bridge, portmap]}
    _file("cni/10-stoker.conflist", network)
    return [f"--config={_file('containerd.toml', containerd_config(pause, shim))}"]


def resolver(system: Path = Path("/etc/resolv.conf")) -> Path:
    """Return the resolver file that pods may use: a loopback resolver is not theirs to reach."""
    real = Path("/run/systemd/resolve/resolv.conf")
    return real if "nameserver 127." in system.read_text() and real.exists() else system


def kubelet_config() -> dict[str, Any]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(pki.key("kubelet")),
        "containerRuntimeEndpoint": f"unix://{containerd_socket()}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver()),
        "cgroupDriver": "cgroupfs",
        "featureGates": dict.fromkeys(GATES, True),
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        # The disk may look full at any time; nothing may be evicted or collected for that here.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        "serializeImagePulls": False,
        "podLogsDir": str(state() / "log" / "pods"),
        "volumePluginDir": str(state() / "kubelet-plugins"),
        "staticPodPath": "",
    }


def _kubelet() -> list[str]:
    return [
        f"--config={_file('kubelet.json', kubelet_config())}",
        f"--kubeconfig={pki.kubeconfig('kubelet')}",
        f"--root-dir={state() / 'kubelet'}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
    ]


def _proxy() -> list[str]:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": "{}:{}".format(*PORTS["kube-proxy health"]),
        "metricsBindAddress": "{}:{}".format(*PORTS["kube-proxy metrics"]),
        "clientConnection": {"kubeconfig": str(pki.kubeconfig("kube-proxy"))},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE,
        # The size of the connection table belongs to the machine, not to us.
        "conntrack": {"maxPerCore": 0},
        "iptables": {"minSyncPeriod": "200ms"},
    }
    return [f"--config={_file('kube-proxy.json', config)}"]


def _router() -> list[str]:
    return [
        f"--kubeconfig={pki.kubeconfig('kube-router')}",
        f"--hostname-override={NODE}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--run-loadbalancer=false",
        "--enable-cni=false",
        "--enable-ipv6=false",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--health-port={}".format(PORTS["kube-router health"][1]),
        "--cache-sync-timeout=1m",
    ]


def _registry() -> list[str]:
    # The blobs outlive the cluster, so that images need no second push.
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(cache() / "registry")}},
        "http": {"addr": REGISTRY},
    }
    return ["serve", str(_file("registry.json", config))]


def command(name: str, programs: Mapping[str, Path], pause: str) -> list[str | Path]:
    """Return the command line of a part, after writing the files that it names."""
    arguments = {
        "registry": _registry,
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "containerd": lambda: _containerd(pause, programs["containerd-shim-runc-v2"]),
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "kubelet": _kubelet,
        "kube-proxy": _proxy,
        "kube-router": _router,
    }
    return [programs.get(name, Path(name)), *arguments[name]()]
