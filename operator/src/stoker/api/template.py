"""What a user may add to the engine pods. Narrow on purpose: each field here is a promise.

The bounds are those of core/v1, so that what passes here is not refused later, when the pod is
made and nobody looks. Which keys are allowed at all is the administrator's choice.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stoker.api.fields import (
    ATOMIC,
    Labels,
    LabelValue,
    Name,
    OwnAnnotations,
    OwnLabels,
    Resource,
    ResourceList,
    cel,
    rules,
)
from stoker.quantity import parse_quantity

_REQUESTS = "requests must not exceed limits: lower the request or raise the limit"
_EXISTS = "operator Exists takes no value, and only Exists may leave out the key, as in core/v1"


class Toleration(Resource):
    """A taint that the engine pods tolerate, as in core/v1."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.operator) && self.operator == 'Exists' ? !has(self.value) : "
                "has(self.key) && self.key != ''",
                _EXISTS,
            )
        ),
    )

    key: Annotated[str, Field(max_length=316)] | None = Field(
        default=None, description="Taint key."
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Exists or Equal. Default: Equal."
    )
    value: LabelValue | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="NoSchedule, PreferNoSchedule or NoExecute. Absent: all of them."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.value is not None if self.operator == "Exists" else not self.key:
            raise ValueError(_EXISTS)
        return self


class Resources(Resource):
    """CPU and memory of the engine container; Stoker sets the accelerators itself."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.requests) || !has(self.limits) || self.requests.all(key, "
                "!(key in self.limits) || quantity(string(self.requests[key]))"
                ".compareTo(quantity(string(self.limits[key]))) <= 0)",
                _REQUESTS,
                field_path=".requests",
            )
        ),
    )

    requests: ResourceList = Field(
        default_factory=dict, description="Requests: cpu, memory, ephemeral-storage."
    )
    limits: ResourceList = Field(
        default_factory=dict, description="Limits: cpu, memory, ephemeral-storage."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, amount in self.requests.items():
            if key in self.limits and parse_quantity(amount) > parse_quantity(self.limits[key]):
                raise ValueError(_REQUESTS)
        return self


class Template(Resource):
    """The few fields of the engine pods that a user may add to. Narrow on purpose."""

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
    labels: OwnLabels = Field(
        default_factory=dict, description="Labels of the engine pods; allowed keys only."
    )
    annotations: OwnAnnotations = Field(
        default_factory=dict, description="Annotations of the engine pods; allowed keys only."
    )
    resources: Resources = Field(default_factory=Resources)
    runtime_class_name: Name | None = Field(
        default=None, description="A RuntimeClass, for example nvidia."
    )
