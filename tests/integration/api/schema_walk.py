"""Which constraints the generated schema holds, each with an identity that a test can name.

A constraint is (path, keyword): `spec.engine.args{}` is any value of the mapping, `[]` any item of
a list, `x-kubernetes-validations` are numbered in their order. Types, required fields and unknown
fields are not listed: they are tried for every property there is, without a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYWORDS = (
    "enum", "format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "pattern",
)  # fmt: skip
# Keywords that constrain nothing, or are tried for every property.
OTHERS = {
    "additionalProperties", "default", "description", "items", "properties", "required", "type",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys",
}  # fmt: skip


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node below a schema, the root included, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], path + "{}")
    if "items" in schema:
        yield from nodes(schema["items"], path + "[]")


def constraints(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Identity of every constraint. A keyword that is not known here is an error, never skipped."""
    for path, node in nodes(schema):
        for keyword, value in node.items():
            if keyword in KEYWORDS:
                yield path, keyword
            elif keyword == "x-kubernetes-validations":
                yield from ((path, f"cel[{index}]") for index in range(len(value)))
            elif keyword == "x-kubernetes-list-type":
                if value in {"set", "map"}:
                    yield path, "duplicate"
            elif keyword not in OTHERS:
                raise AssertionError(f"{path}: {keyword} is a keyword that no test knows")
