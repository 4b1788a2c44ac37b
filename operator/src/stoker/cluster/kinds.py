"""The kinds that Stoker reads and writes, and where the API server keeps them."""

from dataclasses import dataclass
from typing import Final

from stoker.api import modelcache, v1alpha1


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object. What Stoker writes is namespaced; nodes and volumes have no namespace."""

    name: str
    group: str  # empty for the core group
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """As manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Path of an object, of a namespace's collection, or of the whole cluster's."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{within}/{self.plural}{rest}"


SERVICE: Final = Kind(v1alpha1.KIND, v1alpha1.GROUP, v1alpha1.VERSION, v1alpha1.PLURAL)
CACHE: Final = Kind(modelcache.KIND, v1alpha1.GROUP, v1alpha1.VERSION, modelcache.PLURAL)
# What users make: watched whole, where everything else is watched by our label.
OWNERS: Final = (SERVICE, CACHE)
POD: Final = Kind("Pod", "", "v1", "pods")
CLAIM: Final = Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
NODE: Final = Kind("Node", "", "v1", "nodes")
VOLUME: Final = Kind("PersistentVolume", "", "v1", "persistentvolumes")
STORAGE_CLASS: Final = Kind("StorageClass", "storage.k8s.io", "v1", "storageclasses")
LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT: Final = Kind("Event", "events.k8s.io", "v1", "events")
POOL: Final = Kind("InferencePool", "inference.networking.k8s.io", "v1", "inferencepools")

# What services and caches are made of: written by us, watched by label.
CHILDREN: Final = (
    Kind("Deployment", "apps", "v1", "deployments"),
    Kind("Job", "batch", "v1", "jobs"),
    Kind("Service", "", "v1", "services"),
    Kind("ConfigMap", "", "v1", "configmaps"),
    Kind("ServiceAccount", "", "v1", "serviceaccounts"),
    Kind("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
    Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    POOL,
)
WATCHED: Final = (*OWNERS, POD, *CHILDREN)
# Not every cluster serves it, so it is watched only where the administrator says that it does.
LEADER_WORKER_SET: Final = Kind(
    "LeaderWorkerSet", "leaderworkerset.x-k8s.io", "v1", "leaderworkersets"
)

_BY_NAME: Final = {kind.name: kind for kind in (*CHILDREN, LEADER_WORKER_SET, CLAIM)}


def watched(*, groups: bool) -> tuple[Kind, ...]:
    """What is watched here; with groups of pods, LeaderWorkerSets too."""
    return (*WATCHED, LEADER_WORKER_SET) if groups else WATCHED


def owner_kind(name: str) -> Kind:
    """The kind of that name that users make."""
    return next(kind for kind in OWNERS if kind.name == name)


def child(name: str) -> Kind:
    """The child kind of that name."""
    return _BY_NAME[name]
