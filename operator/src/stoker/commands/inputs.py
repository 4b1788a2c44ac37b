"""What `stoker plan` reads: a service, a model, a catalogue. Each error names the field."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stoker.api.servedmodel import Model
from stoker.api.v1alpha1 import InferenceService
from stoker.catalog.gpus import Gpu
from stoker.catalog.hardware import CatalogError
from stoker.catalog.load import builtin_gpus
from stoker.catalog.overrides import gpus_of, known_plugins, marked
from stoker.errors import StokerError
from stoker.model.inventory import Inventory, inventory_of, node_of
from stoker.model.platform import AcceleratorPlatform
from stoker.settings import AcceleratorSettings
from stoker_worker.inspect import InspectError, inspect_model
from stoker_worker.modelfacts import FactsError, ModelFacts, from_json


class InputError(StokerError):
    """A file or an option that cannot be used; the message says where and why."""


def read_service(path: Path, changes: Iterable[str] = ()) -> InferenceService:
    """The object in a YAML file, with `field=value` changes below its spec."""
    objects = [each for each in _documents(path) if isinstance(each, dict)]
    found = [each for each in objects if each.get("kind") == "InferenceService"]
    if len(found) != 1:
        raise InputError(
            f"{path}: has {len(found)} objects of kind InferenceService; one is needed"
        )
    body = found[0]
    for change in changes:
        _change(body, change)
    try:
        # As from JSON: what YAML reads as text or number is what the API server would see.
        return InferenceService.model_validate(body)
    except ValidationError as error:
        lines = (f"{path}: {_path(each['loc'])}: {each['msg']}" for each in error.errors())
        raise InputError("\n".join(lines)) from error


def read_object(text: str, where: str, name: str | None) -> dict[str, Any]:
    """The InferenceService of that name in YAML or JSON, a List of them included; any, if alone."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if isinstance(each, dict)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not YAML: {' '.join(str(error).split())}") from error
    found: list[dict[str, Any]] = []
    for document in documents:
        items = document.get("items") if document.get("kind") != "InferenceService" else None
        found.extend(items if isinstance(items, list) else [document])
    found = [
        each for each in found if isinstance(each, dict) and each.get("kind") == "InferenceService"
    ]
    if name is not None:
        found = [each for each in found if _name(each) == name]
    if len(found) != 1:
        named = f" named {name}" if name is not None else ""
        raise InputError(
            f"{where}: has {len(found)} objects of kind InferenceService{named}; one is needed: "
            "write it with kubectl get infer SERVICE -o yaml, or name the service"
        )
    return found[0]


def read_text(path: Path) -> str:
    """What a file says."""
    return _text(path)


def _name(body: Mapping[str, Any]) -> object:
    metadata = body.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def refuse_cached(path: Path, model: Model) -> None:
    """Where the model is a ModelCache's, `InputError` says how to get its facts without one."""
    if model.claim_uri is not None:
        return
    named = None if model.cache_ref is None else model.cache_ref.name
    field = f"model.uri {model.uri}" if named is None else f"model.cacheRef {named}"
    raise InputError(
        f"{path}: spec.{field}: a plan for a file asks no cluster and fetches nothing; pass "
        "--model with a folder that holds the model, or --facts with a file that holds what its "
        f"ModelCache knows: kubectl get mc {named or 'CACHE'} -o jsonpath='{{.status.facts}}'"
    )


def read_facts(folder: Path | None, file: Path | None, *, allow_pickle: bool = False) -> ModelFacts:
    """Facts of the model, from its folder or from a file that holds them as JSON."""
    if (folder is None) == (file is None):
        raise InputError("pass either --model with the model's folder or --facts with a facts file")
    if folder is not None:
        try:
            return inspect_model(folder, allow_pickle=allow_pickle)
        except InspectError as error:
            raise InputError(f"{folder}: {error}") from error
    assert file is not None  # noqa: S101 - one of the two is there
    try:
        return from_json(_text(file))
    except FactsError as error:
        raise InputError(f"{file}: {error}") from error


def read_catalogue(path: Path | None) -> dict[str, Gpu]:
    """Stoker's own types, with the `accelerators` of an administrator's file on top."""
    try:
        return {**builtin_gpus(), **gpus_of(_entries(path))}
    except CatalogError as error:
        raise InputError(f"{path}: {error}") from error


def read_nodes(path: Path, catalogue: Path | None, gpus: Mapping[str, Gpu]) -> Inventory:
    """What the nodes in a file have of each type; the file is `kubectl get nodes -o json`'s.

    By the administrator's resources and labels, or those that the chart has for Stoker's own types.
    """
    items: list[Any] = []
    for document in _nodes(path):
        listed = isinstance(document, dict) and str(document.get("kind", "")).endswith("List")
        items.extend((document.get("items") or ()) if listed else [document])
    strange = [each for each in items if not isinstance(each, dict) or each.get("kind") != "Node"]
    if strange or not items:
        raise InputError(f"{path}: holds no nodes; write it with: kubectl get nodes -o json")
    entries = _entries(catalogue)
    usual = {
        name: AcceleratorSettings.model_validate({"like": name})
        for name in gpus
        if name not in entries
    }
    marks = {name: marked(name, {**usual, **entries}) for name in gpus}
    accelerators = {
        name: AcceleratorPlatform(name, entry.resource, entry.node_selector)
        for name, entry in marks.items()
    }
    return inventory_of([node_of(each, accelerators) for each in items], accelerators)


def _nodes(path: Path) -> list[Any]:
    """As JSON first: the list of a large cluster takes a YAML reader minutes."""
    try:
        return [json.loads(_text(path))]
    except ValueError:
        return _documents(path)


def _entries(path: Path | None) -> dict[str, AcceleratorSettings]:
    """The `accelerators` of an administrator's file; none without a file."""
    if path is None:
        return {}
    documents = _documents(path)
    data = documents[0] if documents else None
    if isinstance(data, dict) and isinstance(data.get("accelerators"), dict):
        data = data["accelerators"]
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a mapping of accelerator names, or have `accelerators:`")
    try:
        return {
            str(name): AcceleratorSettings.model_validate(entry or {})
            for name, entry in data.items()
        }
    except ValidationError as error:
        raise InputError(f"{path}: {error}") from error


def read_plugins(path: Path | None, engine: str, given: Iterable[str]) -> tuple[str, ...]:
    """Packages of the engine's image: those on the command line, or the administrator's file's."""
    names = tuple(given)
    documents = [] if path is None or names else _documents(path)
    data = documents[0] if documents else None
    for part in ("engines", engine, "plugins"):
        data = data.get(part) if isinstance(data, dict) else None
    if data is not None and not isinstance(data, list):
        raise InputError(f"{path}: engines.{engine}.plugins: must be a list of packages")
    try:
        return known_plugins(engine, names or map(str, data or ()))
    except CatalogError as error:
        raise InputError(f"--plugin: {error}" if names else f"{path}: {error}") from error


def _change(body: dict[str, Any], change: str) -> None:
    """Set one field: optimization.kvCache.dtype=fp8. An empty value takes the field away."""
    field, equals, text = change.partition("=")
    names = field.strip().removeprefix("spec.").split(".")
    if not equals or not all(names):
        raise InputError(
            f"--what-if {change}: write field=value, as optimization.objective=latency"
        )
    try:
        value = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise InputError(f"--what-if {change}: the value is not YAML") from error
    at = body.setdefault("spec", {})
    for name in names[:-1]:
        at = at.setdefault(name, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise InputError(f"--what-if {change}: {name} holds no fields")
    if value is None:
        at.pop(names[-1], None)
    else:
        at[names[-1]] = value


def _documents(path: Path) -> list[Any]:
    try:
        return [each for each in yaml.safe_load_all(_text(path)) if each is not None]
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text") from error


def _path(location: Iterable[Any]) -> str:
    return ".".join(str(part) for part in location)


def known_types(gpus: Mapping[str, Gpu], wanted: Iterable[str]) -> tuple[str, ...]:
    """Names given on the command line, each of them known."""
    names = tuple(dict.fromkeys(wanted))
    for name in names:
        if name not in gpus:
            raise InputError(
                f"--gpu {name}: not in the catalogue; known: {', '.join(sorted(gpus))}"
            )
    return names
