"""What the resources' fields are made of: one declaration, checked in two places.

A constraint has to hold twice: in the API server, which knows OpenAPI and CEL, and in Python, for
`stoker plan` without a cluster and for whoever parses an object. Each kind of value below carries
both forms, so that a model states a constraint once. Where OpenAPI can say it (`pattern`,
`maxLength`, bounds, enums) it does, for editors and linters; a CEL rule stands beside a pattern
where its own message, which tells what to write instead, helps more than a regular expression.

CEL's cost is bounded by the API server through `maxLength`, `maxItems` and `maxProperties`, which
is why every string, list and mapping of the spec has one.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final

from annotated_types import MaxLen
from kube_custom_resource import schema
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from stoker.quantity import parse_duration

VALIDATIONS = "x-kubernetes-validations"

# Go's notation, with the units that make sense here. Six digits a part keep CEL from overflowing.
DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h))+$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_LABEL_KEY_PATTERN = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]{1,9})?|\.[0-9]{1,9})([KMGTPE]i|[numkMGTPE])?$"
OUR_PREFIX = "stoker.dev/"
RESOURCE_NAMES = ("cpu", "memory", "ephemeral-storage")


class Resource(schema.BaseModel):
    """Base of every model: camelCase outside, unknown fields refused, nothing coerced."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


def cel(rule: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """One CEL validation: the API server refuses the object with `message` unless `rule` holds."""
    validation = {"rule": rule, "message": message}
    if field_path is not None:
        validation["fieldPath"] = field_path
    return validation


def rules(*validations: dict[str, str]) -> dict[str, Any]:
    """Schema extension that attaches CEL validations."""
    return {VALIDATIONS: list(validations)}


class Rule:
    """A CEL validation of one value, together with the same check in Python."""

    def __init__(self, rule: str, holds: Callable[[Any], bool], message: str) -> None:
        self.validation = cel(rule, message)
        self.holds = holds
        self.message = message

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:  # noqa: ANN401
        """Check in Python, after everything else about the value."""
        answer: CoreSchema = AfterValidator(self._check).__get_pydantic_core_schema__(
            source, handler
        )
        return answer

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the CEL form to whatever the value's schema is."""
        answer = handler.resolve_ref_schema(handler(core_schema))
        answer[VALIDATIONS] = [*answer.get(VALIDATIONS, []), self.validation]
        return answer

    def _check(self, value: Any) -> Any:  # noqa: ANN401
        if not self.holds(value):
            raise ValueError(self.message)
        return value


def between(minimum: str, maximum: str) -> Rule:
    """Bound a duration."""
    low, high = parse_duration(minimum), parse_duration(maximum)
    return Rule(
        f"duration(self) >= duration('{minimum}') && duration(self) <= duration('{maximum}')",
        lambda text: low <= parse_duration(text) <= high,
        f"must be between {minimum} and {maximum}: write for example 90s, 10m or 1h30m",
    )


def matching(pattern: str, message: str) -> Rule:
    """Demand a pattern, with a message of our own. Patterns have no backslash: CEL would eat it."""
    known = re.compile(pattern)
    return Rule(f"self.matches('{pattern}')", lambda text: bool(known.search(text)), message)


def keys(pattern: str, message: str) -> Rule:
    """Demand that every key of a mapping matches; OpenAPI has no way to say so."""
    known = re.compile(pattern)
    return Rule(
        f"self.all(key, key.matches('{pattern}'))",
        lambda mapping: all(known.search(key) for key in mapping),
        message,
    )


def _not_ours(what: str) -> Rule:
    return Rule(
        f"self.all(key, !key.startsWith('{OUR_PREFIX}'))",
        lambda mapping: not any(key.startswith(OUR_PREFIX) for key in mapping),
        f"{what} below {OUR_PREFIX} belong to Stoker: choose another key",
    )


def keyed_by(key: str) -> dict[str, Any]:
    """Schema extension of a list whose items are told apart by one field."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}
SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}


def no_duplicates(key: Callable[[Any], Any] = lambda item: item) -> AfterValidator:
    """Refuse a list with the same key twice, as the API server does for sets and maps."""

    def check(values: list[Any]) -> list[Any]:
        if len({key(value) for value in values}) < len(values):
            raise ValueError("duplicate value: name each only once")
        return values

    return AfterValidator(check)


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


LabelKeys = keys(
    _LABEL_KEY_PATTERN,
    "keys must be label keys: an optional DNS prefix and '/', then at most 63 letters, digits, "
    "'-', '_' or '.'",
)
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=16)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN, max_length=63)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=253)]
Labels = Annotated[dict[str, LabelValue], MaxLen(16), LabelKeys]
OwnLabels = Annotated[Labels, _not_ours("labels")]
OwnAnnotations = Annotated[
    dict[str, Annotated[str, MaxLen(4096)]], MaxLen(16), LabelKeys, _not_ours("annotations")
]
# A Kubernetes quantity, never negative. Numbers and strings, as everywhere in Kubernetes.
Quantity = Annotated[
    str,
    Field(pattern=_QUANTITY_PATTERN, max_length=32),
    BeforeValidator(_as_text),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": _QUANTITY_PATTERN, "maxLength": 32}
    ),
]
ResourceList = Annotated[
    dict[str, Quantity],
    MaxLen(len(RESOURCE_NAMES)),  # with more room, 1.31 finds the rules over it too costly
    Rule(
        f"self.all(key, key in {list(RESOURCE_NAMES)})",
        lambda mapping: all(key in RESOURCE_NAMES for key in mapping),
        "only cpu, memory and ephemeral-storage: accelerators are asked for with "
        "accelerator.types and accelerator.perReplica",
    ),
]
