"""docs/values.md: every value of the chart, from values.yaml and values.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

PAGE: Final = "docs/values.md"
_CHART: Final = "charts/stoker"
_ENTRY: Final = "[]"
_WIDE: Final = 60  # characters of a default; longer ones are in values.yaml
_INTRODUCTION: Final = """\
# Helm values

Every value of the chart, made from its `values.schema.json` and `values.yaml` by `make generate`.
A misspelt value is refused by Helm, with its place.
The comments in `values.yaml` say more; which values matter first is in [install.md](install.md).
"""


def page(root: Path) -> str:
    """The whole page."""
    schema = json.loads((root / _CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((root / _CHART / "values.yaml").read_text(encoding="utf-8"))
    alone: list[str] = []
    sections: list[str] = []
    for name, child in schema["properties"].items():
        if _fields(child):
            rows = _table([*_rows(name, child, values.get(name))])
            sections.append(f"## {name}\n\n{child['description']}\n\n{rows}")
        else:
            alone.append(_row(name, child, values.get(name)))
    return "\n".join([_INTRODUCTION, _table(alone), *sections])


def _rows(above: str, schema: Any, values: Any) -> Iterator[str]:
    for field, child in _fields(schema).items():
        name = f"{above}{field}" if field == _ENTRY else f"{above}.{field}"
        value = values.get(field) if isinstance(values, dict) else None
        if not _fields(child):
            yield _row(name, child, value)
            continue
        default = value if child["type"] == "array" and value is not None else ...
        yield _row(name, child, default)
        yield from _rows(name, child, value)


def _fields(schema: dict[str, Any]) -> dict[str, Any]:
    """Fields of an object; where names are free, or in a list, those of every entry."""
    every = schema.get("additionalProperties")
    if schema.get("properties"):
        return dict(schema["properties"])
    if isinstance(every, dict) and every.get("properties"):
        return {"NAME": every}
    if schema.get("items", {}).get("properties"):
        return {_ENTRY: schema["items"]}
    return {}


def _table(rows: list[str]) -> str:
    return "\n".join(
        ["| Value | Type | Default | Meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _row(name: str, schema: dict[str, Any], value: Any) -> str:
    meaning = str(schema.get("description", "")).replace("|", "\\|")
    if "enum" in schema:
        meaning += " One of " + ", ".join(f"`{each}`" for each in schema["enum"]) + "."
    return f"| `{name}` | {_type(schema)} | {_default(value)} | {meaning} |"


def _default(value: Any) -> str:
    if value is ...:
        return ""
    if value in ("", None):
        return "empty"
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= _WIDE else "see values.yaml"


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "")
    if "enum" in schema and not kind:
        return "string"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
