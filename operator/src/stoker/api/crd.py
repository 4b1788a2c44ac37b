"""From the models to the CustomResourceDefinitions, byte for byte the same on every machine.

The library inlines references and knows the envelope. What it leaves, `_structural` mends, because
a structural schema allows less than JSON Schema does:

* `X | None` renders `anyOf: [X, null]`. Here it is plain X: a null means absent. The API server
  drops nulls of fields that are not nullable before it validates, so `has(self.x)` never sees one.
* `additionalProperties: false` may not stand beside `properties`. Unknown fields are refused by
  field validation instead (kubectl asks for it), and by the models.
* what only informs Python (`title`, `default: null`) would be noise, or an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml
from kube_custom_resource.custom_resource import Scope
from kube_custom_resource.registry import (
    CustomResourceDefinition,
    CustomResourceDefinitionVersion,
)
from kube_custom_resource.schema import schema_apply

from stoker.api import modelcache, v1alpha1
from stoker.api.fields import Resource
from stoker.api.reference import CACHE_INTRODUCTION, SERVICE_INTRODUCTION, reference
from stoker.api.v1alpha1 import GROUP, VERSION

# The API server brings these itself.
_ENVELOPE = ("apiVersion", "kind", "metadata")
_HEADER = "# Generated from operator/src/stoker/api by `stoker crd`. Change the models, not this.\n"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CustomResourceDefinition says beside its schema."""

    kind: str
    plural: str
    short_name: str
    model: type[Resource]
    page: str  # of the reference
    introduction: str
    subresources: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def _column(
    name: str, path: str, description: str, *, kind: str = "string", priority: int = 0
) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    column["description"] = description
    if priority:  # the API server drops a zero, and GitOps would see a difference for ever
        column["priority"] = priority
    return column


_READY = '.status.conditions[?(@.type=="Ready")]'
_AGE = _column("Age", ".metadata.creationTimestamp", "Time since it was made.", kind="date")

SERVICE = Definition(
    kind=v1alpha1.KIND,
    plural=v1alpha1.PLURAL,
    short_name="infer",
    model=v1alpha1.InferenceService,
    page="docs/api.md",
    introduction=SERVICE_INTRODUCTION,
    subresources={
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    columns=(
        _column("Ready", f"{_READY}.status", "Does the address answer?"),
        _column("Replicas", ".status.readyReplicas", "Replicas that answer.", kind="integer"),
        _column("Desired", ".status.desiredReplicas", "Replicas that are wanted.", kind="integer"),
        _column("Queue", ".status.queueDepth", "Waiting at the last decision.", kind="integer"),
        _column("Model", ".status.model.name", "The name that clients send."),
        _column(
            "$/h", ".status.cost.perHour", "What its replicas cost now, for an hour.", priority=1
        ),
        _column("Plan", ".status.plan.summary", "What runs.", priority=1),
        _column("Reason", f"{_READY}.reason", "Why it is (not) ready."),
        _AGE,
    ),
)
CACHE = Definition(
    kind=modelcache.KIND,
    plural=modelcache.PLURAL,
    short_name="mc",
    model=modelcache.ModelCache,
    page="docs/api-modelcache.md",
    introduction=CACHE_INTRODUCTION,
    subresources={"status": {}},
    columns=(
        _column("Phase", ".status.phase", "Where it is."),
        _column("Progress", ".status.progress.shown", "How much is on the volume."),
        _column("Size", ".status.size", "Size of the model on the volume."),
        _column("Speed", ".status.progress.speed", "How fast it comes."),
        _column("Remaining", ".status.progress.remaining", "How long it still takes."),
        _column("Nodes", ".status.nodes.shown", "Nodes that hold it, of those that are to."),
        _column("Reason", f"{_READY}.reason", "Why it is (not) ready."),
        _AGE,
        _column("Model", ".spec.model.uri", "Where it comes from.", priority=1),
        _column("Revision", ".status.revision", "The pinned revision.", priority=1),
    ),
)
DEFINITIONS = (SERVICE, CACHE)


def render_crd(definition: Definition = SERVICE) -> dict[str, Any]:
    """The whole CustomResourceDefinition."""
    rendered = CustomResourceDefinition(
        api_group=GROUP,
        kind=definition.kind,
        singular_name=definition.kind.lower(),
        plural_name=definition.plural,
        scope=Scope.NAMESPACED,
        short_names=[definition.short_name],
        categories=["ai"],
        versions={
            VERSION: CustomResourceDefinitionVersion(
                name=VERSION,
                model=cast("Any", definition.model),
                subresources=dict(definition.subresources),
                printer_columns=[dict(column) for column in definition.columns],
                storage=True,
            )
        },
    ).kubernetes_resource(include_defaults=True)
    version = rendered["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"] = _root(version["schema"]["openAPIV3Schema"])
    return rendered


def schema_of(definition: Definition) -> dict[str, Any]:
    """The schema alone."""
    return cast(
        "dict[str, Any]",
        render_crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
    )


def crd_yaml(definition: Definition = SERVICE) -> str:
    """The CustomResourceDefinition as a file."""
    return _text(render_crd(definition))


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {k: v for k, v in schema["properties"].items() if k not in _ENVELOPE}
    required = [name for name in schema["required"] if name not in _ENVELOPE]
    root = {**schema, "properties": properties, "required": required}
    return cast("dict[str, Any]", schema_apply(root, _structural))  # type: ignore[no-untyped-call]


def _structural(schema: dict[str, Any]) -> dict[str, Any]:
    answer = dict(schema)
    choices = [choice for choice in answer.pop("anyOf", []) if choice.get("type") != "null"]
    for choice in choices:  # one at most: there is no union in the models
        answer = {**choice, **answer}
    if "properties" in answer:
        answer.pop("additionalProperties", None)
    if answer.get("default", ...) is None:
        del answer["default"]
    for key in ("title", "const"):
        answer.pop(key, None)
    if "description" in answer:
        answer["description"] = " ".join(answer["description"].split())
    return answer


def crd_files() -> dict[str, str]:
    """Every generated copy: path in the repository, and its text."""
    return {path: text for each in DEFINITIONS for path, text in _files(each).items()}


def _files(definition: Definition) -> dict[str, str]:
    kept = render_crd(definition)
    # Helm must never remove the definition: every object of it would go with it.
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    return {
        f"crds/{GROUP}_{definition.plural}.yaml": crd_yaml(definition),
        f"charts/stoker/templates/crd-{definition.plural}.yaml": (
            "{{- if .Values.crds.install }}\n" + _text(kept) + "{{- end }}\n"
        ),
        definition.page: reference(schema_of(definition), definition.introduction),
    }


def _text(definition: dict[str, Any]) -> str:
    body = yaml.safe_dump(definition, sort_keys=True, width=100, allow_unicode=True)
    return f"{_HEADER}{body}"
