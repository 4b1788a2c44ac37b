"""What the operator's account may do, asked of a real authoriser; and that it is all it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.chart.conftest import CHART, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.chart.conftest import Helm
    from tests.support.controlplane import ControlPlane

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:stoker"
READ = ("get", "list", "watch")
WRITE = (*READ, "create", "patch", "delete")
INFERENCE = "inference.networking.k8s.io"
RBAC = "rbac.authorization.k8s.io"
# group, resource, verbs: in every namespace that is served.
NEEDED = [
    ("stoker.dev", "inferenceservices", READ),
    ("stoker.dev", "inferenceservices/status", ("patch",)),
    ("stoker.dev", "modelcaches", (*READ, "create", "patch")),
    ("stoker.dev", "modelcaches/status", ("patch",)),
    ("apps", "deployments", WRITE),
    ("batch", "jobs", WRITE),
    ("", "services", WRITE),
    ("", "configmaps", WRITE),
    ("", "serviceaccounts", WRITE),
    (RBAC, "roles", WRITE),
    (RBAC, "rolebindings", WRITE),
    ("policy", "poddisruptionbudgets", WRITE),
    ("networking.k8s.io", "networkpolicies", WRITE),
    (INFERENCE, "inferencepools", WRITE),
    ("", "pods", (*READ, "patch")),
    ("", "persistentvolumeclaims", ("get", "create", "patch")),
    ("events.k8s.io", "events", ("create", "patch")),
]
# The same for what belongs to no namespace; where the operator is confined to some, nothing.
PLACES = [
    ("", "nodes", ("list",)),
    ("", "persistentvolumes", ("get",)),
    ("storage.k8s.io", "storageclasses", ("get",)),
]
VERBS = (
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind",
    "escalate", "impersonate", "*",
)  # fmt: skip
OTHERS = [
    ("", "secrets"), ("", "namespaces"), ("", "pods/exec"), ("", "pods/eviction"),
    ("", "pods/status"), ("", "pods/ephemeralcontainers"),
    ("", "nodes/proxy"), ("", "nodes/status"), ("", "persistentvolumes/status"),
    ("storage.k8s.io", "volumeattachments"), ("", "serviceaccounts/token"), ("", "users"),
    ("*", "*"),
    (RBAC, "clusterroles"), (RBAC, "clusterrolebindings"), ("apps", "daemonsets"),
    ("batch", "cronjobs"), ("batch", "jobs/status"),
    ("apiextensions.k8s.io", "customresourcedefinitions"), ("coordination.k8s.io", "leases"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
]  # fmt: skip


def may(plane: ControlPlane, user: str, group: str, resource: str, verb: str, **where: str) -> bool:
    name, _, sub = resource.partition("/")
    attributes = {"group": group, "resource": name, "subresource": sub, "verb": verb, **where}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
    spec = {"user": user, "resourceAttributes": attributes}
    if user == ACCOUNT:
        spec["groups"] = groups
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
    }  # fmt: skip
    status, answer = plane.request(
        "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body
    )
    assert status == 201, answer
    allowed: bool = answer["status"]["allowed"]
    return allowed


@pytest.fixture(params=["everywhere", "team alone"])
def installed(request: pytest.FixtureRequest, administrator: Helm) -> Iterator[str]:
    """The chart in one mode; says which."""
    extra = ("--set", "watchNamespaces={team}") if request.param == "team alone" else ()
    administrator("install", "stoker", str(CHART), "-n", NAMESPACE, *extra)
    yield request.param
    administrator("uninstall", "stoker", "-n", NAMESPACE)


def test_the_operator_may_do_what_it_needs_and_no_more(plane: ControlPlane, installed: str) -> None:
    granted = {(group, resource): set(verbs) for group, resource, verbs in NEEDED}
    granted["", "events"] = {"create", "patch"}
    for kind in ("inferenceservices", "modelcaches"):
        granted["stoker.dev", f"{kind}/status"] = {"get", "patch"}
    asked = [*granted, *OTHERS]
    for group, resource in asked:
        for verb in VERBS:
            expected = verb in granted.get((group, resource), ())
            assert may(plane, ACCOUNT, group, resource, verb, namespace="team") == expected, (
                f"{verb} {resource}.{group}"
            )
            if expected:
                beyond = may(plane, ACCOUNT, group, resource, verb, namespace="other")
                assert beyond == (installed == "everywhere")
    for group, resource, verbs in PLACES:
        for verb in VERBS:
            expected = verb in verbs and installed == "everywhere"
            assert may(plane, ACCOUNT, group, resource, verb) == expected, f"{verb} {resource}"
    # The Lease: its own, in its own namespace.
    lease = ("coordination.k8s.io", "leases")
    own = {"namespace": NAMESPACE, "name": "stoker-operator"}
    assert may(plane, ACCOUNT, *lease, "create", namespace=NAMESPACE)
    assert may(plane, ACCOUNT, *lease, "update", **own)
    assert not may(plane, ACCOUNT, *lease, "update", namespace=NAMESPACE, name="another")
    assert not may(plane, ACCOUNT, *lease, "delete", **own)


def test_it_grants_pickers_their_rights_and_nobody_more(
    plane: ControlPlane, installed: str
) -> None:
    del installed
    account = plane.service_account(NAMESPACE, "stoker")

    def apply_role(name: str, rules: list[dict[str, Any]]) -> str:
        role = {
            "apiVersion": f"{RBAC}/v1", "kind": "Role", "rules": rules,
            "metadata": {"name": name, "namespace": "team"},
        }  # fmt: skip
        return plane.try_kubectl(
            "apply", "--server-side", "-f", "-", stdin=role, kubeconfig=account
        ).stderr

    read = list(READ)
    picker = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": read},
        {"apiGroups": [INFERENCE], "resources": ["inferencepools"], "verbs": read},
        {
            "apiGroups": ["inference.networking.x-k8s.io"],
            "resources": ["inferenceobjectives", "inferencemodelrewrites"],
            "verbs": read,
        },
    ]
    assert apply_role("picker", picker) == ""
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "picker", "namespace": "team"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "picker"},
        "subjects": [{"kind": "ServiceAccount", "name": "picker", "namespace": "team"}],
    }
    bound = plane.try_kubectl(
        "apply", "--server-side", "-f", "-", stdin=binding, kubeconfig=account
    )
    assert bound.returncode == 0, bound.stderr
    secrets = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert "attempting to grant RBAC permissions not currently held" in apply_role("s", secrets)
    plane.kubectl("delete", "role,rolebinding", "picker", "-n", "team")


def test_viewers_view_and_editors_edit(plane: ControlPlane, installed: str) -> None:
    del installed
    for user, role in (("vera", "view"), ("eddy", "edit"), ("ada", "admin")):
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": "team"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user, "apiGroup": RBAC}],
        }
        plane.apply(binding)
    table = [
        ("vera", "inferenceservices", "list", True),
        ("vera", "inferenceservices", "create", False),
        ("eddy", "inferenceservices", "create", True),
        ("eddy", "inferenceservices", "list", True),
        ("eddy", "inferenceservices/scale", "patch", True),
        ("eddy", "inferenceservices/status", "patch", False),
        ("ada", "inferenceservices", "delete", True),
        ("ada", "inferenceservices/status", "patch", False),
    ]
    # Aggregation is the controller manager's work, a moment after the install.
    plane.kubectl("get", "clusterrole", "edit")
    for user, resource, verb, expected in table:
        for _ in range(100):
            if may(plane, user, "stoker.dev", resource, verb, namespace="team") == expected:
                break
        else:
            raise AssertionError((user, resource, verb))
        assert not may(plane, user, "stoker.dev", resource, verb, namespace="other")
