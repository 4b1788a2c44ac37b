"""Who may read what a service's pods tell of themselves, and how they find it."""

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

ANNOTATIONS: Final = "prometheus.io/"


def operator(namespace: str) -> Json:
    """The pods of the operator's namespace."""
    return _pods_of({"kubernetes.io/metadata.name": namespace})


def scrapers(namespaces: Mapping[str, str], pods: Mapping[str, str]) -> list[Json]:
    """Pods with these labels, or all, of the namespaces with those; nobody without the latter.

    A selector without labels would be everybody.
    """
    if not namespaces:
        return []
    peer = _pods_of(dict(namespaces))
    return [peer | {"podSelector": {"matchLabels": dict(pods)}} if pods else peer]


def annotations(port: int, path: str) -> dict[str, str]:
    """What a Prometheus reads that finds its targets by the usual annotations of pods."""
    return {
        f"{ANNOTATIONS}scrape": "true",
        f"{ANNOTATIONS}port": str(port),
        f"{ANNOTATIONS}path": path,
    }


def _pods_of(labels: dict[str, str]) -> Json:
    return {"namespaceSelector": {"matchLabels": labels}}
