"""`InferenceService`, group `stoker.dev`, version `v1alpha1`.

The models are the only source: the CRD, the reference and `kubectl explain` are generated from
them. Four rules keep the schema honest:

* a field is here only once Stoker honours it;
* a default stands in the schema only where Stoker never chooses the value itself, so that an
  absent field always means "planned"; the others have a `default_factory`, which stays in Python;
* objects have no default: what the user left out stays out of what `kubectl get` and GitOps see,
  and the defaults inside apply once a user opens the object;
* later versions may add fields, never remove or reinterpret one (there is no conversion webhook).

An object's description is its class's docstring, a value's is on the field.
"""

import math
import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import MaxLen
from pydantic import ConfigDict, Field, model_validator

from stoker.api.cost import Cost
from stoker.api.fields import (
    ATOMIC,
    Duration,
    Resource,
    between,
    cel,
    keyed_by,
    keys,
    no_duplicates,
    rules,
)
from stoker.api.optimization import QUOTED, Optimization, Switch
from stoker.api.scaling import MinReplicas, Scaling
from stoker.api.servedmodel import Model
from stoker.api.status import InferenceServiceStatus
from stoker.api.template import Template

GROUP = "stoker.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "InferenceService"
PLURAL = "inferenceservices"

MAX_NAME_LENGTH = 40
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"

Accelerators = Annotated[int, Field(ge=1, le=16)]
AcceleratorName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]

_REPLICAS_OR_SCALING = (
    "replicas and scaling exclude each other: remove replicas to let Stoker scale, or remove "
    "scaling to set replicas yourself (kubectl scale, HPA, KEDA)"
)
_RANKS = (
    "accelerator.perReplica must be parallelism.tensor x pipeline x data: leave perReplica or one "
    "of the three out"
)
_SIZES = [f"self.parallelism.{size}" for size in ("tensor", "pipeline", "data")]
_PRODUCT = " * ".join(f"(has({size}) ? {size} : 1)" for size in _SIZES)
_ALL = " && ".join(f"has({size})" for size in _SIZES)
_NAME_HELP = (
    f"metadata.name must be a DNS-1035 label of at most {MAX_NAME_LENGTH} characters: lower-case "
    "letters, digits and '-', starting with a letter and ending with a letter or digit"
)


class EngineName(StrEnum):
    """Which engine runs the model. Default: vllm."""

    VLLM = "vllm"


class RolloutStrategy(StrEnum):
    """How a changed service replaces its replicas.

    rolling (the default): new replicas are ready before old ones drain. recreate: old ones drain
    first, for clusters without a spare accelerator; requests are held meanwhile.
    """

    ROLLING = "rolling"
    RECREATE = "recreate"


class EnvVar(Resource):
    """One environment variable of the engine. The administrator decides which names are allowed."""

    name: str = Field(
        description="Name of the variable.", pattern=r"^[A-Z_][A-Z0-9_]*$", max_length=128
    )
    value: str = Field(description="Its value. Never put a secret here.", max_length=1024)


class Engine(Resource):
    """The program that serves the model."""

    name: EngineName = Field(default=EngineName.VLLM, strict=False)
    image: str | None = Field(
        default=None,
        description=(
            "Any stock image of the engine, below an image prefix that the administrator allows. "
            "Default: the engine catalogue's."
        ),
        pattern=r"^[a-z0-9][A-Za-z0-9._:/@-]*$",
        max_length=512,
    )
    args: Annotated[
        dict[str, Annotated[str, MaxLen(256)]],
        keys(
            "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            'write flags without their dashes, in lower case: {max-num-seqs: "128"}',
        ),
    ] = Field(
        default_factory=dict,
        description=(
            'Engine flags without their dashes, all values as strings: {max-num-seqs: "128"}; '
            'a switch has the value "true" or "false". Only flags that the administrator allows.'
        ),
        max_length=32,
    )
    env: Annotated[list[EnvVar], no_duplicates(lambda variable: variable.name)] = Field(
        default_factory=list,
        description="Environment of the engine. Only names that the administrator allows.",
        max_length=32,
        json_schema_extra=keyed_by("name"),
    )
    profiling: bool = Field(
        default=False,
        description=(
            "Start the engine with its profiler, which `stoker profile` needs. Until that is run "
            "it costs nothing; changing this replaces the replicas. Not for replicas that span "
            "pods."
        ),
    )


class Accelerator(Resource):
    """What a replica runs on. Planned when absent."""

    types: list[AcceleratorName] = Field(
        default_factory=list,
        description=(
            "Names from the GPU catalogue in order of preference; cpu serves on processors. "
            "Empty: the administrator's default type."
        ),
        max_length=8,
        json_schema_extra=ATOMIC,
    )
    per_replica: Accelerators | None = Field(
        default=None,
        description=(
            "Accelerators of one replica: tensor x pipeline x data of parallelism. Planned when "
            "absent."
        ),
    )


class Parallelism(Resource):
    """How one replica is spread over its accelerators. Planned when absent."""

    tensor: Accelerators | None = Field(
        default=None,
        description="Tensor parallel size: ranks that share every layer. Planned when absent.",
    )
    pipeline: Accelerators | None = Field(
        default=None,
        description="Pipeline parallel size: ranks that share the layers. Planned when absent.",
    )
    data: Accelerators | None = Field(
        default=None,
        description="Data parallel size: copies that share the requests. Planned when absent.",
    )
    expert: Switch = Field(
        default_factory=lambda: "auto",
        description=(
            f"Spread the experts of a mixture over the ranks, instead of cutting each. {QUOTED}"
        ),
    )

    nodes: Accelerators | None = Field(
        default=None,
        description=(
            "Pods that share the accelerators of one replica, for models that no node holds; more "
            "than one needs LeaderWorkerSets, which the administrator offers. Planned when absent: "
            "as few as there have to be."
        ),
    )

    @property
    def given(self) -> list[int]:
        """The sizes that were written."""
        return [size for size in (self.tensor, self.pipeline, self.data) if size is not None]


class Context(Resource):
    """How long a conversation may be. Planned when absent."""

    max_model_len: Annotated[int, Field(ge=16, le=10_485_760)] | None = Field(
        default=None,
        description="Prompt plus answer, in tokens. Planned when absent (the model's own limit).",
    )


class Rollout(Resource):
    """How a change reaches the replicas."""

    strategy: RolloutStrategy = Field(default=RolloutStrategy.ROLLING, strict=False)
    max_surge: Annotated[int, Field(ge=1, le=100)] = Field(
        default_factory=lambda: 1,
        description=(
            "How many replicas beyond the wanted number a rolling change may add. Planned when "
            "absent (today: 1)."
        ),
    )


class Frontend(Resource):
    """The address of the service: Envoy and the endpoint picker."""

    replicas: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="Frontend pods. Each holds its own queue."
    )
    hold_timeout: Annotated[Duration, between("1s", "1h")] = Field(
        default="10m",
        description=(
            "How long a request may wait for a replica before it is answered with 503. 1s to 1h. "
            "Example: 10m."
        ),
    )
    max_held: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=500,
        description="Requests that may wait at one frontend pod; more are answered with 429.",
    )


class InferenceServiceSpec(Resource):
    """What is wanted: a model, and what matters about serving it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(has(self.replicas) && has(self.scaling))",
                _REPLICAS_OR_SCALING,
                field_path=".replicas",
            ),
            cel(
                "!has(self.accelerator) || !has(self.accelerator.perReplica) || "
                f"!has(self.parallelism) || (self.accelerator.perReplica % ({_PRODUCT}) == 0 && "
                f"(!({_ALL}) || self.accelerator.perReplica == {_PRODUCT}))",
                _RANKS,
                field_path=".accelerator.perReplica",
            ),
        ),
    )

    model: Model
    engine: Engine = Field(default_factory=Engine)
    accelerator: Accelerator = Field(default_factory=Accelerator)
    parallelism: Parallelism = Field(default_factory=Parallelism)
    context: Context = Field(default_factory=Context)
    optimization: Optimization = Field(default_factory=Optimization)
    replicas: MinReplicas | None = Field(
        default=None,
        description=(
            "Fixed number of replicas, for kubectl scale, HPA and KEDA too. Absent together with "
            "scaling: one replica. Refused beside scaling."
        ),
    )
    scaling: Scaling | None = None
    rollout: Rollout = Field(default_factory=Rollout)
    frontend: Frontend = Field(default_factory=Frontend)
    template: Template = Field(default_factory=Template)
    cost: Cost | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.replicas is not None and self.scaling is not None:
            raise ValueError(_REPLICAS_OR_SCALING)
        count, given = self.accelerator.per_replica, self.parallelism.given
        product = math.prod(given)
        if count is not None and (count % product or (len(given) == 3 and count != product)):
            raise ValueError(_RANKS)
        return self


class InferenceService(Resource):
    """A model served by optimized, autoscaled inference replicas behind one address."""

    api_version: Literal["stoker.dev/v1alpha1"]
    kind: Literal["InferenceService"]
    metadata: dict[str, Any]
    spec: InferenceServiceSpec
    status: InferenceServiceStatus = Field(default_factory=InferenceServiceStatus)

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
