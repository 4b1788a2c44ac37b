"""The one place that knows where pods and services answer."""

from stoker.model.observed import Key, ObservedPod
from stoker.naming import address
from stoker_worker import contract


def service_url(key: Key, cluster_domain: str) -> str:
    """Where clients inside the cluster send requests."""
    return f"http://{address(key.name)}.{key.namespace}.svc.{cluster_domain}/v1"


def pod_url(pod: ObservedPod, port: int) -> str | None:
    """Root of what a pod serves on a port; None before it has an address."""
    return None if pod.ip is None else f"http://{host_port(pod.ip, port)}"


def host_port(ip: str, port: int) -> str:
    """An address and a port as a URL has them."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def engine_load_url(pod: ObservedPod) -> str | None:
    """Where an engine pod's worker passes on what scaling needs; older ones have no such page."""
    root = pod_url(pod, contract.WORKER_PORT)
    return None if root is None else f"{root}{contract.PATH_LOAD}"


def engine_metrics_url(pod: ObservedPod) -> str | None:
    """Where an engine reports everything."""
    root = pod_url(pod, contract.ENGINE_PORT)
    return None if root is None else f"{root}{contract.PATH_METRICS}"
