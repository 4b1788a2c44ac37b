"""`spec.model` of an `InferenceService`: which model is served, and where it comes from.

Three ways to name it. A folder of a claim of the namespace (`pvc://`) is taken as it is. A
ModelCache by name (`cacheRef`). Or the address of a source (`hf://` and so on): then the service
uses the ModelCache of that source and revision, and one is made when there is none.
"""

import re
from typing import Annotated, ClassVar, Final, Self

from pydantic import ConfigDict, Field, model_validator

from stoker.api import webfiles
from stoker.api.fields import (
    SET,
    Name,
    Resource,
    cel,
    keyed_by,
    matching,
    no_duplicates,
    rules,
)
from stoker.api.modelcache import HTTPS_DIGEST, NO_DOTS, SHA256, SecretReference

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", max_length=128)]

CLAIM_SCHEME: Final = "pvc://"
_CLAIM_PATTERN = (
    r"pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9_][A-Za-z0-9._-]*)*/?"  # no '..' in it
)
_FETCHED_PATTERN = r"(hf|s3|gs|oci|https)://[A-Za-z0-9][A-Za-z0-9._~:/+=,%-]*"
_CLAIM_HELP = (
    "write pvc://CLAIM or pvc://CLAIM/FOLDER: a claim of this namespace and a folder in it; no "
    "part of the folder may begin with '.'"
)
_URI_HELP = (
    "write pvc://CLAIM/FOLDER (no part of the folder may begin with '.'), hf://ORG/NAME, "
    "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, oci://HOST/REPOSITORY or https://HOST/ARCHIVE; a "
    "revision goes into model.revision, a user or a token into the Secret of model.secretRef"
)
_ONE_SOURCE = "model takes exactly one of uri and cacheRef: remove one of them"
_FETCHED_ONLY = (
    "model.revision and model.secretRef go with a model.uri that is fetched (hf://, s3://, gs://, "
    "oci://, https://): remove them here; a ModelCache has its own"
)
_BELOW = (
    "an adapter lies in a folder below the model's: write model.uri followed by /FOLDER, for "
    "example pvc://models/llama/adapters/sql"
)
_CLAIM_ADAPTERS = (
    "adapters go with a model on a claim: write model.uri as pvc://CLAIM/FOLDER, or remove them"
)
_OWN_NAME = "an adapter needs a name that the model does not have: choose another one"

ClaimUri = Annotated[
    str,
    Field(pattern=f"^{_CLAIM_PATTERN}$", max_length=512),
    matching("^pvc://[^/]+(/[^./][^/]*)*/?$", _CLAIM_HELP),
]
ModelUri = Annotated[
    str,
    Field(pattern=f"^({_CLAIM_PATTERN}|{_FETCHED_PATTERN})$", max_length=512),
    matching("^(pvc://[^/]+(/[^./][^/]*)*/?|(hf|s3|gs|oci|https)://[^/].*)$", _URI_HELP),
    matching("^[a-z0-9]+:/(/([^/.]|[.][^/.]|[.][.][^/])[^/]*)*/*$", NO_DOTS),
    webfiles.NO_GGUF,
    webfiles.NO_WEIGHTS_ALONE,
    webfiles.AN_ARCHIVE,
]


class Adapter(Resource):
    """A LoRA adapter, served beside the model under a name of its own."""

    name: ModelName = Field(description="The model name that clients send to get this adapter.")
    uri: ClaimUri = Field(
        description=(
            "Where the adapter lives: a folder at most two levels below the model's that holds "
            "adapter_config.json."
        ),
    )


class CacheReference(Resource):
    """A ModelCache of this namespace."""

    name: Name = Field(description="Its name.")


class Model(Resource):
    """Which model is served, and under which names."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.uri) != has(self.cacheRef)", _ONE_SOURCE),
            cel(
                "!(has(self.revision) || has(self.secretRef)) || "
                "(has(self.uri) && !self.uri.startsWith('pvc://'))",
                _FETCHED_ONLY,
            ),
            cel(
                "!has(self.uri) || !self.uri.startsWith('https://') || (has(self.revision) && "
                f"self.revision.matches('{SHA256}'))",
                HTTPS_DIGEST,
                field_path=".revision",
            ),
            cel(
                "!has(self.adapters) || size(self.adapters) == 0 || "
                "(has(self.uri) && self.uri.startsWith('pvc://'))",
                _CLAIM_ADAPTERS,
                field_path=".adapters",
            ),
            cel(
                "!has(self.adapters) || !has(self.uri) || self.adapters.all(a, a.uri.startsWith("
                "self.uri.endsWith('/') ? self.uri : self.uri + '/'))",
                _BELOW,
                field_path=".adapters",
            ),
            cel(
                "!has(self.adapters) || self.adapters.all(a, "
                "(!has(self.servedName) || a.name != self.servedName) && "
                "(!has(self.aliases) || !(a.name in self.aliases)))",
                _OWN_NAME,
                field_path=".adapters",
            ),
        ),
    )

    uri: ModelUri | None = Field(
        default=None,
        description=(
            "Where the model lives. pvc://CLAIM or pvc://CLAIM/FOLDER: a PersistentVolumeClaim of "
            "this namespace and a folder in it that holds config.json. hf://ORG/NAME, "
            "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, oci://HOST/REPOSITORY or "
            "https://HOST/ARCHIVE: the ModelCache of this source and revision, which is made when "
            "there is none and outlives the service."
        ),
    )
    revision: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:+-]*$", max_length=256)] | None
    ) = Field(
        default=None,
        description=(
            "Branch, tag, commit, version or digest at the source, for a model that is fetched. "
            "Absent: what the source had when its ModelCache was made. https:// needs sha256:HEX."
        ),
    )
    secret_ref: SecretReference | None = None
    cache_ref: CacheReference | None = None
    served_name: ModelName | None = Field(
        default=None,
        description="The model name that clients send. Default: the name of this object.",
    )
    aliases: Annotated[list[ModelName], no_duplicates()] = Field(
        default_factory=list,
        description="More names under which the same model answers.",
        max_length=8,
        json_schema_extra=SET,
    )
    adapters: Annotated[list[Adapter], no_duplicates(lambda adapter: adapter.name)] = Field(
        default_factory=list,
        description="LoRA adapters that are served together with the model; for pvc:// alone.",
        max_length=8,
        json_schema_extra=keyed_by("name"),
    )

    @property
    def claim_uri(self) -> str | None:
        """The address, where it is a folder of a claim."""
        return self.uri if self.uri is not None and self.uri.startswith(CLAIM_SCHEME) else None

    @property
    def fetched_uri(self) -> str | None:
        """The address, where somebody else serves it and a ModelCache fetches it."""
        return self.uri if self.claim_uri is None else None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.uri is None) == (self.cache_ref is None):
            raise ValueError(_ONE_SOURCE)
        if (self.revision or self.secret_ref) and self.fetched_uri is None:
            raise ValueError(_FETCHED_ONLY)
        https = self.uri is not None and self.uri.startswith("https://")
        if https and not re.search(SHA256, self.revision or ""):
            raise ValueError(HTTPS_DIGEST)
        return self

    @model_validator(mode="after")
    def _check_adapters(self) -> Self:
        if self.adapters and self.claim_uri is None:
            raise ValueError(_CLAIM_ADAPTERS)
        folder = (self.claim_uri or "").rstrip("/") + "/"
        if not all(each.uri.startswith(folder) for each in self.adapters):
            raise ValueError(_BELOW)
        if {each.name for each in self.adapters} & {self.served_name, *self.aliases}:
            raise ValueError(_OWN_NAME)
        return self
