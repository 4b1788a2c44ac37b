"""`ModelCache`, group `stoker.dev`, version `v1alpha1`: one model on one volume, and proven.

The rules of `v1alpha1` hold here too. What a cache is for a service is three words of its status:
`claim`, `folder` and `digest`. They name the last content that was whole, and stay while another
one is fetched, so that a service that had a cached model keeps starting.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import MaxLen
from pydantic import ConfigDict, Field, model_validator

from stoker.api import webfiles
from stoker.api.cachestatus import ModelCacheStatus
from stoker.api.fields import (
    ATOMIC,
    SET,
    Duration,
    Labels,
    Name,
    Quantity,
    Resource,
    Rule,
    between,
    cel,
    keys,
    matching,
    no_duplicates,
    rules,
)
from stoker.api.template import Toleration

KIND = "ModelCache"
PLURAL = "modelcaches"

MAX_NAME_LENGTH = 40
NAME_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

_SCHEMES = "hf|s3|gs|oci|https|pvc"
_URI_PATTERN = rf"^({_SCHEMES})://[A-Za-z0-9][A-Za-z0-9._~:/+=,%-]*$"
_URI_HELP = (
    "write hf://ORG/NAME, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, oci://HOST/REPOSITORY, "
    "https://HOST/ARCHIVE or pvc://CLAIM/FOLDER; a revision goes into model.revision, a user or a "
    "token into the Secret of model.secretRef"
)
NO_DOTS = "no part of the address may be '.' or '..': write the path without them"
HTTPS_DIGEST = (
    "an https:// source needs model.revision sha256: followed by the 64 hexadecimal digits of the "
    "file's digest"
)
SHA256 = "^sha256:[0-9a-f]{64}$"
_ONE_STORAGE = (
    "storage takes exactly one of pvc, existingClaim, perNode and image: remove the others, or "
    "leave storage out for the administrator's default"
)
_IMAGE = (
    "storage.image is for oci:// sources: the container runtime mounts images alone, choose pvc, "
    "existingClaim or perNode"
)
_PER_NODE = (
    "storage.perNode takes exactly one of storageClassName and claimName: a class of local "
    "volumes, or an existing claim whose path is another folder on each node"
)
_PRELOAD = (
    "preload is for storage.perNode: a volume that nodes share is filled once, remove preload"
)
_NAME_HELP = (
    f"metadata.name must be a DNS label of at most {MAX_NAME_LENGTH} characters: lower-case "
    "letters, digits and '-', starting and ending with a letter or digit"
)


class SecretReference(Resource):
    """A Secret of this namespace with what the source asks for."""

    name: Name = Field(
        description=(
            "Its name. Which keys it may have depends on the source: docs/caches.md. It is mounted "
            "into the jobs as files, and read by nobody else."
        )
    )


class CachedModel(Resource):
    """Which model is cached, and of which revision."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!self.uri.startsWith('https://') || (has(self.revision) && "
                f"self.revision.matches('{SHA256}'))",
                HTTPS_DIGEST,
                field_path=".revision",
            )
        ),
    )

    uri: Annotated[
        str,
        Field(pattern=_URI_PATTERN, max_length=512),
        matching(f"^({_SCHEMES})://[A-Za-z0-9][A-Za-z0-9._~:/+=,%-]*$", _URI_HELP),
        matching("^[a-z0-9]+:/(/([^/.]|[.][^/.]|[.][.][^/])[^/]*)*/*$", NO_DOTS),
        webfiles.NO_GGUF,
        webfiles.NO_WEIGHTS_ALONE,
        webfiles.AN_ARCHIVE,
    ] = Field(
        description=(
            "Where the model comes from: hf://ORG/NAME, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, "
            "oci://HOST/REPOSITORY, https://HOST/ARCHIVE (.tar, .tar.gz, .tar.zst, .zip), or "
            "pvc://CLAIM/FOLDER of this namespace."
        )
    )
    revision: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:+-]*$", max_length=256)] | None
    ) = Field(
        default=None,
        description=(
            "Branch, tag, commit, version or digest at the source. It is resolved once and then "
            "kept: a branch that moves changes nothing until the annotation "
            "stoker.dev/resolve-again gets another value. Absent: what the source has now. "
            "https:// needs sha256:HEX."
        ),
    )
    secret_ref: SecretReference | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.uri.startswith("https://") and not re.search(SHA256, self.revision or ""):
            raise ValueError(HTTPS_DIGEST)
        return self


AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]


class ClaimTemplate(Resource):
    """A claim that Stoker makes for this cache."""

    storage_class_name: Name | None = Field(
        default=None,
        description="Class of the volume. Absent: the administrator's, or the cluster's default.",
    )
    size: Quantity | None = Field(
        default=None,
        description=(
            "How much to ask for, for example 40Gi. Absent: the model's size and a tenth, and room "
            "for compiled kernels. A claim never shrinks."
        ),
    )
    access_modes: Annotated[
        list[AccessMode],
        no_duplicates(),
        Rule(
            "size(self) == 0 || self.exists(mode, mode != 'ReadOnlyMany')",
            lambda modes: not modes or set(modes) != {"ReadOnlyMany"},
            "add ReadWriteOnce or ReadWriteMany: a volume that nobody can write cannot be filled",
        ),
    ] = Field(
        default_factory=list,
        description=(
            "ReadWriteOnce, ReadOnlyMany, ReadWriteMany. Absent: the administrator's, or "
            "ReadWriteOnce: then one node at a time can use the model."
        ),
        max_length=3,
        json_schema_extra=SET,
    )


class ExistingClaim(Resource):
    """A claim that somebody else made; several caches may share it."""

    name: Name = Field(description="A PersistentVolumeClaim of this namespace.")


class PerNode(Resource):
    """One claim that is another folder on each node: local volumes, filled by a job per node."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.storageClassName) != has(self.claimName)", _PER_NODE),
        ),
    )

    storage_class_name: Name | None = Field(
        default=None,
        description=(
            "Class of a local PersistentVolume with ReadWriteMany whose path exists on several "
            "nodes; a claim for it is made."
        ),
    )
    claim_name: Name | None = Field(
        default=None, description="An existing claim of this namespace that is bound to such a one."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.storage_class_name is None) == (self.claim_name is None):
            raise ValueError(_PER_NODE)
        return self


class ImageStorage(Resource):
    """Nowhere: the container runtime pulls the image, and pods mount it read-only."""

    fallback: Literal["none", "copy"] = Field(
        default="none",
        description=(
            "What to do where the image cannot be mounted: none says so and waits, copy keeps the "
            "model where the administrator's default storage is."
        ),
    )


class CacheStorage(Resource):
    """Where the model is kept. Exactly one of the four; absent: the administrator's default."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(has(self.pvc) ? 1 : 0) + (has(self.existingClaim) ? 1 : 0) + "
                "(has(self.perNode) ? 1 : 0) + (has(self.image) ? 1 : 0) == 1",
                _ONE_STORAGE,
            ),
        ),
    )

    pvc: ClaimTemplate | None = None
    existing_claim: ExistingClaim | None = None
    per_node: PerNode | None = None
    image: ImageStorage | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.pvc, self.existing_claim, self.per_node, self.image].count(None) != 3:
            raise ValueError(_ONE_STORAGE)
        return self


class NodeSelection(Resource):
    """Which nodes."""

    match_labels: Labels = Field(
        default_factory=dict, description="Labels that a node must carry. Empty: every node."
    )


class Preload(Resource):
    """Which nodes are filled before any replica lands there."""

    nodes: NodeSelection | None = None
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2, description="How many nodes are filled at once."
    )


class CacheVerification(Resource):
    """How the content is proven."""

    every: Annotated[Duration, between("10m", "8760h")] | None = Field(
        default=None,
        description=(
            "How often every byte is read again and compared with its digest; files that are bad "
            "are fetched again. 10m to 8760h. Absent: as the administrator says; what looks "
            "touched is hashed before an engine uses it in any case."
        ),
    )
    digests: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]],
        MaxLen(64),
        keys(
            "^[A-Za-z0-9_][A-Za-z0-9._/-]*$",
            "keys must be paths of files below the model's folder, for example model.safetensors",
        ),
    ] = Field(
        default_factory=dict,
        description="sha256 that files must have, by path: nothing else is ever published.",
    )


class CacheBudget(Resource):
    """What fetching may take."""

    bandwidth: Quantity | None = Field(
        default=None,
        description="Bytes per second of one job at most, for example 100Mi. Absent: no limit.",
    )
    max_size: Quantity | None = Field(
        default=None,
        description=(
            "A larger model is refused before its first byte, for example 50Gi. Absent: the "
            "administrator's limit."
        ),
    )


class CacheTemplate(Resource):
    """Where the jobs may run while no service names the cache; then they run where its pods may."""

    node_selector: Labels = Field(
        default_factory=dict, description="Labels that a node must carry."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        description="Taints to tolerate; allowed keys only.",
        max_length=16,
        json_schema_extra=ATOMIC,
    )
    priority_class_name: Name | None = Field(
        default=None, description="A priority class that the administrator allows."
    )


class ModelCacheSpec(Resource):
    """What is wanted: a model, and where it is kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.preload) || !has(self.storage) || has(self.storage.perNode)",
                _PRELOAD,
                field_path=".preload",
            ),
            cel(
                "!has(self.storage) || !has(self.storage.image) || "
                "self.model.uri.startsWith('oci://')",
                _IMAGE,
                field_path=".storage",
            ),
        ),
    )

    model: CachedModel
    storage: CacheStorage | None = None
    preload: Preload | None = None
    verify: CacheVerification = Field(default_factory=CacheVerification)
    retain: bool = Field(
        default=False,
        description=(
            "Keep the model when this object is deleted: a claim that Stoker made stays, and on a "
            "shared volume the model's folder stays."
        ),
    )
    budget: CacheBudget = Field(default_factory=CacheBudget)
    template: CacheTemplate = Field(default_factory=CacheTemplate)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.preload is not None and self.storage is not None and self.storage.per_node is None:
            raise ValueError(_PRELOAD)
        mounted = self.storage is not None and self.storage.image is not None
        if mounted and not self.model.uri.startswith("oci://"):
            raise ValueError(_IMAGE)
        return self


class ModelCache(Resource):
    """A model on a volume: fetched once, proven by digests, shared by the services that name it."""

    api_version: Literal["stoker.dev/v1alpha1"]
    kind: Literal["ModelCache"]
    metadata: dict[str, Any]
    spec: ModelCacheSpec
    status: ModelCacheStatus = Field(default_factory=ModelCacheStatus)

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"size(self.metadata.name) <= {MAX_NAME_LENGTH} && "
                f"self.metadata.name.matches('{NAME_PATTERN}')",
                _NAME_HELP,
            )
        ),
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        name = str(self.metadata.get("name", ""))
        if len(name) > MAX_NAME_LENGTH or not re.search(NAME_PATTERN, name):
            raise ValueError(_NAME_HELP)
        return self
