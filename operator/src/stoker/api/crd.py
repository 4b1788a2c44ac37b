"""From the models to the CustomResourceDefinition, byte for byte the same on every machine.

The library inlines references and knows the envelope. What it leaves, `_structural` mends, because
a structural schema allows less than JSON Schema does:

* `X | None` renders `anyOf: [X, null]`. Here it is plain X: a null means absent. The API server
  drops nulls of fields that are not nullable before it validates, so `has(self.x)` never sees one.
* `additionalProperties: false` may not stand beside `properties`. Unknown fields are refused by
  field validation instead (kubectl asks for it), and by the models.
* what only informs Python (`title`, `default: null`) would be noise, or an error.
"""

from typing import Any, cast

import yaml
from kube_custom_resource.custom_resource import Scope
from kube_custom_resource.registry import (
    CustomResourceDefinition,
    CustomResourceDefinitionVersion,
)
from kube_custom_resource.schema import schema_apply

from stoker.api.reference import reference
from stoker.api.v1alpha1 import GROUP, KIND, PLURAL, VERSION, InferenceService

# The API server brings these itself.
_ENVELOPE = ("apiVersion", "kind", "metadata")
_HEADER = "# Generated from operator/src/stoker/api by `stoker crd`. Change the models, not this.\n"


def crd_name() -> str:
    """Name of the CustomResourceDefinition."""
    return f"{PLURAL}.{GROUP}"


def render_crd() -> dict[str, Any]:
    """The whole CustomResourceDefinition."""
    definition = CustomResourceDefinition(
        api_group=GROUP,
        kind=KIND,
        singular_name=KIND.lower(),
        plural_name=PLURAL,
        scope=Scope.NAMESPACED,
        short_names=["infer"],
        categories=["ai"],
        versions={
            VERSION: CustomResourceDefinitionVersion(
                name=VERSION,
                model=cast("Any", InferenceService),
                subresources={
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                printer_columns=_columns(),
                storage=True,
            )
        },
    ).kubernetes_resource(include_defaults=True)
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"] = _root(version["schema"]["openAPIV3Schema"])
    return definition


def crd_yaml() -> str:
    """The CustomResourceDefinition as a file."""
    return _text(render_crd())


def _columns() -> list[dict[str, Any]]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        _column("Ready", f"{ready}.status", "Does the address answer?"),
        _column("Replicas", ".status.readyReplicas", "Replicas that answer.", kind="integer"),
        _column("Desired", ".status.desiredReplicas", "Replicas that are wanted.", kind="integer"),
        _column("Queue", ".status.queueDepth", "Waiting at the last decision.", kind="integer"),
        _column("Model", ".status.model.name", "The name that clients send."),
        _column("Plan", ".status.plan.summary", "What runs.", priority=1),
        _column("Reason", f"{ready}.reason", "Why it is (not) ready."),
        _column("Age", ".metadata.creationTimestamp", "Time since it was made.", kind="date"),
    ]


def _column(
    name: str, path: str, description: str, *, kind: str = "string", priority: int = 0
) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    column["description"] = description
    if priority:  # the API server drops a zero, and GitOps would see a difference for ever
        column["priority"] = priority
    return column


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
    kept = render_crd()
    # Helm must never remove the definition: every service would go with it.
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    return {
        f"crds/{GROUP}_{PLURAL}.yaml": crd_yaml(),
        f"charts/stoker/templates/crd-{PLURAL}.yaml": (
            "{{- if .Values.crds.install }}\n" + _text(kept) + "{{- end }}\n"
        ),
        "docs/api.md": reference(kept["spec"]["versions"][0]["schema"]["openAPIV3Schema"]),
    }


def _text(definition: dict[str, Any]) -> str:
    body = yaml.safe_dump(definition, sort_keys=True, width=100, allow_unicode=True)
    return f"{_HEADER}{body}"
