"""The catalogue that comes with Stoker, read from the package's own files once per process.

The files are part of the program as its modules are: one that cannot be read is a bug, found by
the tests, and not a condition of the world.
"""

from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from stoker.catalog.enginefile import Engine, parse_engines
from stoker.catalog.gpus import Gpu
from stoker.catalog.hardware import CatalogError, Entry, Marks, builtin_gpu, marks_of


def builtin_gpus() -> dict[str, Gpu]:
    """Accelerator types by name, as hardware. The caller's own copy."""
    return dict(_types()[0])


def builtin_marks() -> dict[str, Marks]:
    """How the vendors' plugins and labellers show each type on a node, by the type's name."""
    return dict(_types()[1])


def builtin_engines() -> dict[str, Engine]:
    """Engines by name; `Engine.at(version)` gives what one can do. The caller's own copy."""
    return dict(_engines())


def parse_gpus(data: Any) -> tuple[dict[str, Gpu], dict[str, Marks]]:  # noqa: ANN401 - from YAML
    """Types and their marks from the content of a `gpus.yaml`; `CatalogError` names the entry."""
    if not isinstance(data, dict):
        raise CatalogError("gpus.yaml: must be a mapping of names to types")
    gpus: dict[str, Gpu] = {}
    marks: dict[str, Marks] = {}
    for name, raw in data.items():
        try:
            entry = Entry.model_validate(raw)
        except ValidationError as error:
            lines = (
                f"{name}.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
                for problem in error.errors()
            )
            raise CatalogError("\n".join(lines)) from error
        gpus[name] = builtin_gpu(name, entry, gpus)
        marks[name] = marks_of(entry, gpus[name], marks.get(entry.like or ""))
    return gpus, marks


def read(name: str) -> Any:  # noqa: ANN401 - whatever the YAML holds
    """The content of one of the package's own YAML files."""
    text = resources.files("stoker.catalog").joinpath(name).read_text(encoding="utf-8")
    return yaml.safe_load(text)


@cache
def _types() -> tuple[dict[str, Gpu], dict[str, Marks]]:
    return parse_gpus(read("gpus.yaml"))


@cache
def _engines() -> dict[str, Engine]:
    return parse_engines(read("engines.yaml"))
