"""What stands around the engine pods: their identity, their budget, and who may talk to them.

The pods that read the model share the identity and have a policy of their own. It stands as long as
the service does, so that no facts pod begins before its policy, and none is made for each look.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from stoker import naming
from stoker.naming import Component
from stoker.render import readers
from stoker.render.objects import Owner, finish
from stoker_worker import contract

Manifest = dict[str, Any]


def render_support(
    owner: Owner,
    operator_namespace: str,
    scrapers: Mapping[str, str],
    scraper_pods: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Manifest, ...]:
    """Objects of a service that do not depend on a revision, in the order to apply.

    `scrapers` are labels of the namespaces whose pods may read metrics; with `scraper_pods` of
    those pods alone that have these labels.
    """
    who = readers.scrapers(scrapers, scraper_pods)
    return tuple(
        finish(manifest, owner)
        for manifest in (
            _service_account(owner.key.name),
            _network_policy(owner.key.name, operator_namespace, who),
            _facts_policy(owner.key.name),
            _disruption_budget(owner.key.name),
        )
    )


def _metadata(service: str) -> Manifest:
    return {
        "name": naming.engine(service),
        "labels": naming.labels(service, Component.ENGINE),
    }


def _service_account(service: str) -> Manifest:
    """An identity without rights and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(service),
        "automountServiceAccountToken": False,
    }


def _disruption_budget(service: str) -> Manifest:
    """One at a time; a pod that is not ready blocks no node drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(service),
        "spec": {
            "maxUnavailable": 1,
            # With the followers: whoever evicts one of them takes the whole replica.
            "selector": {
                "matchLabels": {naming.LABEL_SERVICE: service},
                "matchExpressions": [
                    {
                        "key": naming.LABEL_COMPONENT,
                        "operator": "In",
                        "values": [Component.ENGINE.value, Component.FOLLOWER.value],
                    }
                ],
            },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _network_policy(service: str, operator_namespace: str, scrapers: list[Manifest]) -> Manifest:
    """Requests come from this service's frontend, scrapes from who may read; nothing goes out.

    The kubelet's probes come from the node, which every enforcer lets through. An engine needs no
    peer and no name server: its model is mounted.
    """
    who_reads = [readers.operator(operator_namespace), *scrapers]
    frontend = {"podSelector": {"matchLabels": naming.selector(service, Component.FRONTEND)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(service),
        "spec": {
            "podSelector": {"matchLabels": naming.selector(service, Component.ENGINE)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [frontend, *who_reads],
                    "ports": [{"protocol": "TCP", "port": contract.ENGINE_PORT}],
                },
                {
                    "from": who_reads,
                    "ports": [{"protocol": "TCP", "port": contract.WORKER_PORT}],
                },
            ],
            "egress": [],
        },
    }


def _facts_policy(service: str) -> Manifest:
    """Nobody, in either direction: a facts pod reads a mounted folder and leaves its last words.

    The empty lists say what the absent ones would, and are found again when somebody adds to them.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": naming.facts(service),
            "labels": naming.labels(service, Component.FACTS),
        },
        "spec": {
            "podSelector": {"matchLabels": naming.selector(service, Component.FACTS)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [],
        },
    }
