"""The links that every service hangs on: API server, definitions, operator, leader, its rights."""

from typing import Any, Final

from stoker.cluster.kinds import CACHE, CHILDREN, LEADER_WORKER_SET, POD, POOL, SERVICE, Kind
from stoker.commands import statuses
from stoker.commands.doctor.links import Broken, Check, Ok, Outcome, Unknown
from stoker.commands.doctor.podwords import words_of
from stoker.commands.doctor.seen import Absent, Body, Denied, World, known, several
from stoker.commands.exits import Exit

NAMESPACE: Final = "stoker-system"  # where docs/install.md puts the operator
SELECTOR: Final = "app.kubernetes.io/name=stoker,app.kubernetes.io/component=operator"
KINDS: Final = (SERVICE, CACHE, POOL)
# Group, resource and verb that no service can do without; the chart grants them.
RIGHTS: Final[tuple[tuple[str, str, str], ...]] = (
    (SERVICE.group, SERVICE.plural, "list"),
    (SERVICE.group, f"{SERVICE.plural}/status", "patch"),
    (CACHE.group, f"{CACHE.plural}/status", "patch"),
    (POD.group, POD.plural, "list"),
    ("", "persistentvolumeclaims", "get"),
    *((kind.group, kind.plural, verb) for kind in CHILDREN for verb in ("list", "create", "patch")),
)
_UPGRADE: Final = "helm upgrade stoker charts/stoker --namespace {namespace} --reuse-values"
_LATE_S: Final = 30.0  # beyond the Lease's own duration: clocks differ


def _api(world: World) -> Outcome:
    if not world.api.problem:
        return Ok(f"{world.api.version or 'the API server'} answers")
    return Broken(
        "API server",
        world.api.problem,
        "See whether `kubectl version` answers: it uses the same kubeconfig. If not, log in again, "
        "or choose another with --context or --kubeconfig.",
        Exit.UNREACHABLE,
    )


def _kinds(world: World) -> Outcome:
    served = world.kinds.served
    if isinstance(served, Denied):
        return Unknown(served.right)
    wanted = [*KINDS]
    if statuses.mapping(known(world.operator.config).get("leaderWorkerSet")).get("enabled"):
        wanted.append(LEADER_WORKER_SET)
    missing = [kind for kind in wanted if kind.plural not in served.get(kind.api_version, ())]
    if not missing:
        return Ok(f"{', '.join(kind.name for kind in wanted)} are served")
    first = missing[0]
    if first is LEADER_WORKER_SET:
        fix = "Install the LeaderWorkerSet controller (docs/install.md), or set "
        fix += "leaderWorkerSet.enabled=false."
    else:
        fix = "Install Stoker, or put its definitions back: `helm upgrade --install stoker "
        fix += f"charts/stoker --namespace {NAMESPACE} --create-namespace --set crds.install=true`"
    gone = ", ".join(f"{kind.plural}.{kind.group}" for kind in missing)
    return Broken(
        f"CustomResourceDefinition {first.plural}.{first.group}",
        f"the API server does not serve {gone} ({first.version})",
        fix,
        Exit.NOT_FOUND if first in {SERVICE, CACHE} else Exit.UNHEALTHY,
    )


def _schema(world: World) -> Outcome:
    lacking = {kind: paths for kind, paths in world.kinds.lacking.items() if paths}
    if not lacking:
        return Ok("the definitions have every field")
    kind, paths = next(iter(lacking.items()))
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return Broken(
        f"CustomResourceDefinition of {kind}",
        f"its schema is older than this command: it lacks {', '.join(paths[:3])}{more}, so what is "
        "written there is lost",
        "Helm does not upgrade definitions that others hold: `kubectl apply --server-side "
        "--force-conflicts -f crds/` of the operator's version. Or use the command of that "
        "version.",
    )


def _operator(world: World) -> Outcome:
    found = world.operator.deployments
    if isinstance(found, Denied):
        return Unknown(found.right)
    if not found:
        return Broken(
            "Deployment of the operator",
            f"there is none with the labels {SELECTOR}",
            f"`helm upgrade --install stoker charts/stoker --namespace {NAMESPACE} "
            "--create-namespace`",
        )
    for each in found:
        if statuses.whole(statuses.mapping(each.get("status")).get("availableReplicas")):
            name, image = _named(each), _image(each)
            return Ok(f"Deployment {name} answers{f' ({image})' if image else ''}")
    return _not_available(world, found[0])


def _not_available(world: World, deployment: Body) -> Outcome:
    namespace, _, name = _named(deployment).partition("/")
    where = f"Deployment {namespace}/{name}"
    if statuses.mapping(deployment.get("spec")).get("replicas") == 0:
        return Broken(
            where,
            "it is scaled to zero, so nobody carries anything out",
            f"`kubectl scale deployment {name} --namespace {namespace} --replicas=2`",
        )
    pods = several(world.operator.pods)
    told = next((said for pod in pods if (said := words_of(pod)) is not None), None)
    refused = statuses.condition(statuses.mapping(deployment.get("status")), "ReplicaFailure")
    told = told or statuses.text(refused.get("message"))
    return Broken(
        where,
        "none of its pods answers" + (f": {told}" if told else ""),
        f"`kubectl describe pods --namespace {namespace} -l {SELECTOR}` and `kubectl logs "
        f"--namespace {namespace} deployment/{name} --tail=50`: its first line names a setting "
        "that cannot be used.",
    )


def _leader(world: World) -> Outcome:
    lease = world.operator.lease
    if isinstance(lease, Denied):
        return Unknown(lease.right)
    namespace = operator_namespace(world)
    logs = f"`kubectl logs --namespace {namespace} -l {SELECTOR} --tail=50` says why."
    if isinstance(lease, Absent):
        return Broken(
            f"Lease {lease_name(world)} in {namespace}",
            "no operator has ever led, so nobody decides anything",
            f"An operator that may not write Leases, or sees no definitions, never leads. {logs}",
        )
    spec = statuses.mapping(lease.get("spec"))
    holder = statuses.text(spec.get("holderIdentity"))
    renewed = statuses.unix(spec.get("renewTime"))
    lasts = statuses.number(spec.get("leaseDurationSeconds")) or 15.0
    age = None if renewed is None else world.now - renewed
    if world.operator.moves:
        skew = "" if age is None or abs(age) < lasts + _LATE_S else _skew(age)
        return Ok(f"{holder or 'an operator'} leads{skew}")
    if holder and age is not None and age <= lasts + _LATE_S:
        skew = _skew(age) if age < -_LATE_S else ""
        return Ok(f"{holder} leads{skew}")
    since = "" if age is None or age < 0 else f" for {statuses.duration(age)}"
    return Broken(
        f"Lease {lease_name(world)} in {namespace}",
        f"nobody has led{since}"
        + (f"; the last one was {holder}" if holder else ": it was given back"),
        f"`kubectl rollout restart deployment --namespace {namespace} -l {SELECTOR}`; before that, "
        + logs,
    )


def _skew(age: float) -> str:
    apart = statuses.duration(abs(age))
    return f"; its clock and this machine's are {apart} apart, so ages here are wrong by as much"


def _rights(world: World) -> Outcome:
    lacks = world.operator.lacks
    if isinstance(lacks, Denied):
        return Unknown(lacks.right)
    if not lacks:
        return Ok("the operator's account may do what it has to")
    namespace = operator_namespace(world)
    more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
    return Broken(
        f"ServiceAccount {account_of(world)} in {namespace}",
        f"it may not {', '.join(lacks[:3])}{more}",
        f"Put the chart's roles and bindings back: `{_UPGRADE.format(namespace=namespace)}`",
    )


def _watched(world: World) -> Outcome:
    watches = known(world.operator.config).get("watchNamespaces")
    key = world.key
    if key is None or not isinstance(watches, list) or not watches or key.namespace in watches:
        return Ok("" if key is None else "the operator looks at this namespace")
    return Broken(
        f"namespace {key.namespace}",
        f"the operator looks at {', '.join(map(str, watches[:5]))} alone",
        f"Add it to watchNamespaces in the chart's values: "
        f"`{_UPGRADE.format(namespace=operator_namespace(world))} --set "
        f"'watchNamespaces={{{','.join(map(str, [*watches, key.namespace]))}}}'`",
    )


def operator_namespace(world: World) -> str:
    """Where the operator is, or where it would be looked for."""
    for each in several(world.operator.deployments):
        return _named(each).partition("/")[0]
    return NAMESPACE


def lease_name(world: World) -> str:
    """As the chart or the administrator's file names it."""
    lease = statuses.mapping(known(world.operator.config).get("lease"))
    named = statuses.text(lease.get("name"))
    for each in several(world.operator.deployments):
        return named or f"{_named(each).partition('/')[2]}-operator"
    return named or "stoker-operator"


def account_of(world: World) -> str:
    """The operator's ServiceAccount."""
    for each in several(world.operator.deployments):
        return str(_pod_spec(each).get("serviceAccountName") or "default")
    return "stoker"


def in_words(right: tuple[str, str, str]) -> str:
    """A right as people name it: `patch deployments.apps`."""
    group, resource, verb = right
    plural, slash, part = resource.partition("/")
    return f"{verb} {plural}{f'.{group}' if group else ''}{slash}{part}"


def needed(kind: Kind, verb: str) -> str:
    """The same for a kind."""
    return in_words((kind.group, kind.plural, verb))


def _named(body: Body) -> str:
    metadata = statuses.mapping(body.get("metadata"))
    return f"{metadata.get('namespace', NAMESPACE)}/{metadata.get('name', '?')}"


def _pod_spec(deployment: Body) -> dict[str, Any]:
    template = statuses.mapping(statuses.mapping(deployment.get("spec")).get("template"))
    return dict(statuses.mapping(template.get("spec")))


def _image(deployment: Body) -> str | None:
    containers = statuses.mappings(_pod_spec(deployment).get("containers"))
    return next((statuses.text(each.get("image")) for each in containers), None)


CHECKS: Final = (
    Check("api", "API server", _api),
    Check("definitions", "definitions are served", _kinds),
    Check("schema", "definitions are current", _schema),
    Check("operator", "operator runs", _operator),
    Check("leader", "one operator leads", _leader),
    Check("rights", "operator's rights", _rights),
    Check("watched", "namespace is looked at", _watched),
)
