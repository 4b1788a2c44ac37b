"""Each constraint at its bound and beyond it, on the oldest and the newest API server."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from stoker.api.crd import render_crd
from stoker.api.v1alpha1 import InferenceService
from tests.integration.api.schema_walk import constraints, nodes
from tests.integration.api.table import CASES, EVERYTHING, Case, is_alone, put

if TYPE_CHECKING:
    from tests.integration.api.conftest import Judge

SCHEMA = render_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
# One of each kind of JSON value; whichever a field is not.
WRONG: dict[str | None, Any] = {
    "string": 7, "integer": "seven", "number": "seven", "object": "text", "array": "text",
    "boolean": "yes", None: True,
}  # fmt: skip


def body_of(case: Case, value: Any) -> dict[str, Any]:
    if case.path == "metadata.name":
        return {**put("spec", EVERYTHING["spec"]), "metadata": {"name": value}}
    return put(case.path, value)


def python_takes(body: dict[str, Any]) -> bool:
    head = {"apiVersion": "stoker.dev/v1alpha1", "kind": "InferenceService"}
    try:
        InferenceService.model_validate({**head, "metadata": {"name": "judged"}, **body})
    except ValidationError:
        return False
    return True


def test_every_constraint_has_a_case() -> None:
    tried = {("", "cel[0]") if c.path == "metadata.name" else c.constraint for c in CASES}
    assert set(constraints(SCHEMA)) == tried


@pytest.mark.parametrize("case", CASES, ids=str)
def test_at_the_bound_it_passes(judge: Judge, case: Case) -> None:
    body = body_of(case, case.accept)
    assert judge.refusal(body) == ""
    assert python_takes(body)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_beyond_it_is_refused_with_path_and_advice(judge: Judge, case: Case) -> None:
    body = body_of(case, case.reject)
    refusal = judge.refusal(body)
    assert case.says in refusal
    if case.path not in {"metadata.name", "spec"}:
        # The server writes name[0] for an item and name.key for a mapping's value.
        path = case.path.replace("[]", "[0]").replace("{", ".").replace("}", "")
        parent = path.rsplit(".", 1)[0] if case.keyword == "maxLength" else path
        assert re.search(rf"{re.escape(path)}|{re.escape(parent)}", refusal), refusal
    if case.keyword != "format":  # times of the status are plain text in Python
        assert not python_takes(body)


def properties() -> list[str]:
    return [path for path, _ in nodes(SCHEMA) if path not in {"", "spec", "status"}]


def node(path: str) -> dict[str, Any]:
    return dict(nodes(SCHEMA))[path]


def reach(root: Any, path: str) -> tuple[Any, Any]:
    """The container and the key of a path in EVERYTHING."""
    parent, key = None, None
    for step in re.findall(r"[^.\[\]{}]+|\[\]|\{\}", path):
        if parent is not None:
            root = parent[key]
        parent, key = root, 0 if step == "[]" else next(iter(root)) if step == "{}" else step
    return parent, key


def whole(path: str, alone: dict[str, Any]) -> dict[str, Any]:
    """EVERYTHING, or the smallest object with the path where that excludes something of it."""
    return put(path, alone) if is_alone(path) else copy.deepcopy(EVERYTHING)


def only(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Leave out the half that is not tried: spec and status are written through two doors."""
    return {k: v for k, v in body.items() if k != "status" or path.startswith("status")}


def test_everything_is_everything(judge: Judge) -> None:
    for path in properties():
        if is_alone(path):
            continue
        parent, key = reach(EVERYTHING, path)
        assert parent[key] is not None, path
    assert judge.refusal(only("spec", EVERYTHING) | {"metadata": {"name": "all"}}) == ""
    assert judge.refusal(EVERYTHING) == ""
    assert python_takes(EVERYTHING)


@pytest.mark.parametrize("path", properties())
def test_wrong_type_is_refused_with_its_path(judge: Judge, path: str) -> None:
    if is_alone(path):
        body = put(path, WRONG[node(path).get("type")])
    else:
        body = copy.deepcopy(EVERYTHING)
        parent, key = reach(body, path)
        parent[key] = WRONG[node(path).get("type")]
    body["metadata"] = {"name": "judged"}
    refusal = judge.refusal(only(path, body))
    assert re.search(r"must be of type|must be an integer or a string", refusal), refusal
    assert re.split(r"[\[{]", path)[0] in refusal
    assert not python_takes(body)


@pytest.mark.parametrize(
    ("path", "name"),
    [(path, name) for path, found in nodes(SCHEMA) for name in found.get("required", ())],
)
def test_missing_field_is_named(judge: Judge, path: str, name: str) -> None:
    body = whole(path, {name: "a"})
    target = body
    if path:
        parent, key = reach(body, path)
        target = parent[key]
    del target[name]
    body["metadata"] = {"name": "judged"}
    refusal = judge.refusal(only(path, body))
    assert re.search(rf"{name}: Required value", refusal), refusal
    assert not python_takes(body)


@pytest.mark.parametrize("path", [path for path, found in nodes(SCHEMA) if "properties" in found])
def test_unknown_field_is_refused_with_its_path(judge: Judge, path: str) -> None:
    body = whole(path, {"name": "a"})
    target = body
    if path:
        parent, key = reach(body, path)
        target = parent[key]
    target["surprise"] = 1
    body["metadata"] = {"name": "judged"}
    refusal = judge.refusal(only(path, body))
    where = f"{path.replace('[]', '[0]')}.surprise".lstrip(".")
    assert f'unknown field "{where}"' in refusal
    assert not python_takes(body)
