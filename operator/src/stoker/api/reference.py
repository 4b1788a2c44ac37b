"""The page that documents every field, made from the same schema as the CRD."""

from collections.abc import Iterator
from typing import Any

SERVICE_INTRODUCTION = """\
# InferenceService

`apiVersion: stoker.dev/v1alpha1`, short name `infer`.
This page is made from the models by `stoker crd`; `kubectl explain infer.spec` shows the same text.

A field that is absent and has no default is planned: Stoker chooses, and says in the status what
and why.
A value that is written is obeyed or refused, never adapted.
"""

CACHE_INTRODUCTION = """\
# ModelCache

`apiVersion: stoker.dev/v1alpha1`, short name `mc`.
This page is made from the models by `stoker crd`; `kubectl explain mc.spec` shows the same text.
What a cache does, its states and its conditions are told in [modelcache.md](modelcache.md).
"""


def reference(schema: dict[str, Any], introduction: str) -> str:
    """The whole page, Markdown, from the resource's schema."""
    parts = [introduction, *_rules(schema)]
    for name in ("spec", "status"):
        parts.extend(_section(name, schema["properties"][name]))
    return "\n".join(parts)


def _section(path: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {path}\n"
    yield f"{schema['description']}\n"
    yield "| Field | Type | Meaning |\n| --- | --- | --- |"
    required = schema.get("required", [])
    nested: list[tuple[str, dict[str, Any]]] = []
    for name, child in schema["properties"].items():
        inside = child.get("items", child)
        kind = _type(child) + (", required" if name in required else "")
        yield f"| `{name}` | {kind} | {_cell(_meaning(child))} |"
        if "properties" in inside:
            nested.append((f"{path}.{name}{'[]' if inside is not child else ''}", inside))
    yield ""
    yield from _rules(schema)
    for deeper, child in nested:
        yield from _section(deeper, child)


def _rules(schema: dict[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield f"Refused otherwise: {rule['message']}.\n"


def _type(schema: dict[str, Any]) -> str:
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(schema["type"])


def _meaning(schema: dict[str, Any]) -> str:
    parts = [schema["description"]]
    if "enum" in schema:
        parts.append("One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".")
    if "minimum" in schema:
        parts.append(f"{schema['minimum']} to {schema['maximum']}.")
    if "default" in schema:
        # As YAML writes it: false, not False.
        default = schema["default"]
        parts.append(f"Default: `{str(default).lower() if default in (True, False) else default}`.")
    if "properties" not in schema:
        parts.extend(
            f"Rule: {rule['message']}." for rule in schema.get("x-kubernetes-validations", [])
        )
    return " ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
