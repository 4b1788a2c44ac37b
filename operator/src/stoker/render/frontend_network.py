"""Who may talk to a frontend pod, and to whom it may talk.

The drain port has no rule: only the kubelet calls it, and a node always reaches its own pods. The
API server has no label that a policy could select, so its ports are open; they are the usual ones
unless the administrator says otherwise.
"""

from typing import Any

from stoker import naming
from stoker.naming import Component
from stoker.render import readers
from stoker.render.frontend_input import FrontendInput
from stoker_worker.contract import ENGINE_PORT

Json = dict[str, Any]


def render_network_policy(given: FrontendInput) -> Json:
    """The policy of the frontend pods."""
    metrics = [given.ports.ops, *(given.ports.track(t.track).metrics for t in given.tracks)]
    operator = readers.operator(given.platform.operator_namespace)
    scrapers = readers.scrapers(given.platform.scrapers, given.platform.scraper_pods)
    engines = {"matchLabels": naming.selector(given.service, Component.ENGINE)}
    egress: list[Json] = [
        {"to": [{"podSelector": engines}], "ports": [_port(ENGINE_PORT)]},
        {"ports": [_port(port) for port in given.api_server_ports]},
        {"ports": [_port(53, "UDP"), _port(53)]},
    ]
    if given.notify is not None:
        port = int(given.notify.rpartition(":")[2])
        egress.append({"to": [operator], "ports": [_port(port)]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": naming.frontend(given.service),
            "namespace": given.namespace,
            "labels": naming.labels(given.service, Component.FRONTEND),
        },
        "spec": {
            "podSelector": {"matchLabels": naming.selector(given.service, Component.FRONTEND)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_port(given.ports.api)]},
                {"from": [operator, *scrapers], "ports": [_port(port) for port in metrics]},
            ],
            "egress": egress,
        },
    }


def _port(number: int, protocol: str = "TCP") -> Json:
    return {"port": number, "protocol": protocol}
