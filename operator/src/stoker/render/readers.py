"""Who may read what a service's pods tell of themselves: as peers of NetworkPolicies."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def operator(namespace: str) -> Json:
    """The pods of the operator's namespace."""
    return _pods_of({"kubernetes.io/metadata.name": namespace})


def scrapers(namespace_labels: Mapping[str, str]) -> list[Json]:
    """The pods of the namespaces with these labels; nobody where there are no labels.

    A selector without labels would be everybody.
    """
    return [_pods_of(dict(namespace_labels))] if namespace_labels else []


def _pods_of(labels: dict[str, str]) -> Json:
    return {"namespaceSelector": {"matchLabels": labels}}
