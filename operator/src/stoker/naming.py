"""Every name, label and annotation that Stoker gives; nobody else derives one.

A service's name is at most 40 characters, so each derived name below fits the 63 of a DNS label
without truncation. The three selector labels are frozen by a golden test: selectors of Deployments
are immutable, so a change here would orphan every running replica. Pools tell revisions apart by
label selector alone, so no pod is ever relabelled.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final

GROUP: Final = "stoker.dev"
FIELD_MANAGER: Final = "stoker"
STATUS_FIELD_MANAGER: Final = "stoker-status"
USER_AGENT: Final = "stoker-operator"
# Of a person's commands; audit logs tell it from the operator.
COMMAND_USER_AGENT: Final = "stoker-cli"
# Caches that a list of models asks for.
PRELOAD_FIELD_MANAGER: Final = "stoker-preload"

LABEL_SERVICE: Final = "stoker.dev/service"
LABEL_COMPONENT: Final = "stoker.dev/component"
LABEL_REVISION: Final = "stoker.dev/revision"
SELECTOR_LABELS: Final = (LABEL_SERVICE, LABEL_COMPONENT, LABEL_REVISION)
# Of everything that is made for a ModelCache, in place of the service's.
LABEL_CACHE: Final = "stoker.dev/cache"
# On a ModelCache that a service's pass has made, because none had its source.
LABEL_IMPLICIT: Final = "stoker.dev/implicit"
# Prefix of the labels of nodes; after it the hash of a model's folder.
MODEL_LABELS: Final = "model.stoker.dev"
# The init container of an engine pod that waits until its node has the model.
AWAIT_CONTAINER: Final = "await-model"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "stoker"

# The digest of what we applied last; a differing digest is what makes us write again.
ANNOTATION_APPLIED: Final = "stoker.dev/applied"
# On a revision's Deployment: a replica of it has answered once, so it is worth keeping.
ANNOTATION_SERVED: Final = "stoker.dev/served"
# On the frontend's Deployment: what the user asked for; only a change of this rolls it.
ANNOTATION_FACTORS: Final = "stoker.dev/factors"
ANNOTATIONS: Final = (ANNOTATION_APPLIED, ANNOTATION_SERVED, ANNOTATION_FACTORS)
# On the facts Job: claim, by uid, and folder that it looks at.
ANNOTATION_SOURCE: Final = "stoker.dev/source"
# On a service, by its owner: which offered plan may replace the one that runs.
ANNOTATION_ACCEPT: Final = "stoker.dev/accept-plan"
# On a service, by `stoker scale`: the bounds that a number set by hand stands in for, `MIN-MAX`.
ANNOTATION_BOUNDS: Final = "stoker.dev/bounds-before"
# On a service, by its owner: another value than before has its model read once more. The facts Job
# carries the value that it reads for.
ANNOTATION_REREAD: Final = "stoker.dev/reread-model"
# On a cache, by its owner: another value than before has its revision resolved once more.
ANNOTATION_RESOLVE: Final = "stoker.dev/resolve-again"
# The same for its files: another value has every byte read and compared once more.
ANNOTATION_VERIFY: Final = "stoker.dev/verify-again"
# On a ConfigMap, by its owner: its list of models becomes caches. On such a cache: the ConfigMap.
LABEL_PRELOAD: Final = "stoker.dev/preload"
ANNOTATION_PRELOADED: Final = "stoker.dev/preloaded-by"
# On a cache's Job: what it does, and on which node where the cache is kept per node.
ANNOTATION_TASK: Final = "stoker.dev/task"
ANNOTATION_NODE: Final = "stoker.dev/node"
# On engine pods, before there are to be fewer: a ReplicaSet removes the lowest first.
ANNOTATION_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
# On the operator's Lease: host:port where the leader answers.
ANNOTATION_ADDRESS: Final = "stoker.dev/address"


class Component(StrEnum):
    """The kinds of pods that a service has. Facts pods only look at the model, once.

    Cache pods are a ModelCache's: they fill and check its volume. Where a replica spans pods, its
    leader is the engine pod and the others are followers: they compute, but nobody sends them
    requests.
    """

    ENGINE = "engine"
    FRONTEND = "frontend"
    FOLLOWER = "follower"
    FACTS = "facts"
    CACHE = "cache"


class Track(StrEnum):
    """One pool, one picker and one weight at the frontend. Only the stable track ships so far."""

    STABLE = "stable"
    CANDIDATE = "candidate"


def selector(service: str, component: Component, revision: str | None = None) -> dict[str, str]:
    """Labels that select a component's pods, of one revision or of all."""
    labels = {LABEL_SERVICE: service, LABEL_COMPONENT: component.value}
    if revision is not None:
        labels[LABEL_REVISION] = revision
    return labels


def labels(service: str, component: Component, revision: str | None = None) -> dict[str, str]:
    """All labels of an object: the selector labels and the recommended ones."""
    return {
        **selector(service, component, revision),
        LABEL_MANAGED_BY: MANAGED_BY,
        "app.kubernetes.io/name": "inferenceservice",
        "app.kubernetes.io/instance": service,
        "app.kubernetes.io/component": component.value,
        "app.kubernetes.io/part-of": "stoker",
    }


def address(service: str) -> str:
    """The Service that clients talk to."""
    return service


def engine(service: str) -> str:
    """ServiceAccount, PodDisruptionBudget and NetworkPolicy of the engine pods."""
    return f"{service}-engine"


def engine_deployment(service: str, revision: str) -> str:
    """The Deployment of one revision."""
    return f"{service}-engine-{revision}"


def group(service: str, revision: str) -> str:
    """The LeaderWorkerSet of one revision, and the policy between its pods.

    Its controller derives names of StatefulSets from it (`NAME-999`), which Kubernetes bounds to 52
    characters because they become a label together with a hash. Hence one character less of the
    revision; the label has all of them.
    """
    return f"{service}-{revision[:7]}"


def facts(service: str) -> str:
    """The NetworkPolicy of the pods that read the model's facts."""
    return f"{service}-facts"


def facts_job(service: str, digest: str) -> str:
    """The Job that reads the model's facts, named by its content: a Job cannot be changed."""
    return f"{service}-facts-{digest}"


def learned(service: str) -> str:
    """The ConfigMap with what the autoscaler has learned of the service's traffic."""
    return f"{service}-learned"


def frontend(service: str) -> str:
    """Deployment, ServiceAccount, Role, RoleBinding, budget and policy of the frontend pods."""
    return f"{service}-frontend"


def frontend_config(service: str, digest: str) -> str:
    """The frontend's ConfigMap, named by its content: a change is a new name, never an edit."""
    return f"{service}-frontend-{digest}"


def pool(service: str, track: Track) -> str:
    """The InferencePool of one track."""
    return f"{service}-{track.value}"


def cache_selector(cache: str) -> dict[str, str]:
    """Labels that select the pods of a cache's jobs."""
    return {LABEL_CACHE: cache, LABEL_COMPONENT: Component.CACHE.value}


def cache_labels(cache: str) -> dict[str, str]:
    """All labels of an object that is made for a cache."""
    return {
        **cache_selector(cache),
        LABEL_MANAGED_BY: MANAGED_BY,
        "app.kubernetes.io/name": "modelcache",
        "app.kubernetes.io/instance": cache,
        "app.kubernetes.io/component": Component.CACHE.value,
        "app.kubernetes.io/part-of": "stoker",
    }


def cache(cache: str) -> str:
    """Claim, ServiceAccount and NetworkPolicy of a cache."""
    return f"{cache}-cache"


def cache_job(cache: str, digest: str) -> str:
    """A Job of a cache, named by its content: a Job cannot be changed."""
    return f"{cache}-cache-{digest}"


def model_folder(uri: str, revision: str) -> str:
    """The folder, below `models/` of a volume, of a source's model at a pinned revision.

    Caches of one source and revision share it, and no other content ever has that name. The words
    in front are for people; the hash tells folders apart.
    """
    source = uri.rstrip("/")
    words = re.sub(r"[^a-z0-9]+", "-", source.partition("://")[2].lower()).strip("-")
    digest = hashlib.sha256(f"{source}\n{revision}".encode()).hexdigest()[:16]
    return f"{words[-40:].strip('-') or 'model'}-{digest}"


def model_label(folder: str) -> str:
    """The label of nodes that hold a model, of a cache that is kept per node."""
    return f"{MODEL_LABELS}/{folder.rpartition('-')[2]}"


def implicit_cache(uri: str, revision: str | None, secret: str | None) -> str:
    """The ModelCache that services share which name this source, where nobody made one for it.

    The words in front are for people; the hash tells caches apart. At most 40 characters, as for
    every ModelCache.
    """
    source = uri.rstrip("/")
    words = re.sub(r"[^a-z0-9]+", "-", source.rpartition("/")[2].lower()).strip("-")[:27]
    told = f"{source}\n{revision or ''}\n{secret or ''}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return f"{words.strip('-') or 'model'}-{digest}"
