"""The ConfigMap in which what was learned of a service's traffic outlives the operator."""

from typing import Any

from stoker import naming
from stoker.model.learned import LEARNED
from stoker.naming import Component
from stoker.render.objects import Owner, finish


def render_learned(owner: Owner, text: str) -> dict[str, Any]:
    """The ConfigMap with this text."""
    service = owner.key.name
    return finish(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": naming.learned(service),
                "labels": naming.labels(service, Component.ENGINE),
            },
            "data": {LEARNED: text},
        },
        owner,
    )
