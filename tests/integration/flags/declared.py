"""The flags that an engine's source declares, and what is wrong with those of a plan.

Flags are the `add_argument` calls of `vllm/engine/arg_utils.py`, most of which take what they
accept from a field of a configuration class:

    cache_kwargs = get_kwargs(CacheConfig)
    cache_group.add_argument("--kv-cache-dtype", **cache_kwargs["cache_dtype"])
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker_worker.engines.vllm import MANY
from tests.integration.flags.annotations import Allowed, Source, strict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENGINE = "vllm.engine.arg_utils"
SERVER = "vllm.entrypoints.common.cli_args"


@dataclass(frozen=True)
class Flag:
    """One flag of the command line."""

    allowed: Allowed
    switch: bool = False
    """It takes no value; `--no-…` is its negation where `negation` says so."""
    negation: bool = False
    deprecated: bool = False


@dataclass(frozen=True)
class Declared:
    """All flags of one version."""

    source: Source
    flags: Mapping[str, Flag]

    def complaints(self, args: Mapping[str, str]) -> list[str]:
        """Return what this version would not take of a plan's flags; one sentence each."""
        return [said for name, value in args.items() for said in self._complaints(name, value)]

    def variables(self) -> frozenset[str]:
        """Return the environment variables that the engine reads by its own list."""
        _, statement = self.source.find("vllm.envs", "environment_variables")
        assert isinstance(statement, ast.Assign | ast.AnnAssign)
        assert isinstance(statement.value, ast.Dict)
        keys = (key.value for key in statement.value.keys if isinstance(key, ast.Constant))
        return frozenset(str(key) for key in keys)

    def _complaints(self, name: str, value: str) -> Iterator[str]:
        flag = self.flags.get(name)
        if flag is None:
            yield f"--{name} does not exist"
            return
        if flag.deprecated:
            yield f"--{name} is deprecated"
        if flag.switch:
            if value not in {"true", "false"}:
                yield f"--{name} is a switch and was given {value!r}"
            elif value == "false" and not flag.negation:
                yield f"--{name} has no negation"
            return
        if name in MANY:
            if not flag.allowed.kinds & _LISTS:
                yield f"--{name} takes one word"
            return
        yield from self._judge(f"--{name}", flag.allowed, value)

    def _judge(self, where: str, allowed: Allowed, value: Any) -> Iterator[str]:
        strictly = strict(allowed)
        if strictly.words and str(value) in strictly.words:
            return
        if strictly.keys is not None:
            given = json.loads(value) if isinstance(value, str) else value
            yield from self._judge_keys(where, strictly.keys, given)
        elif not _is_one_of(strictly.kinds, value):
            known = sorted(strictly.words | strictly.kinds)
            yield f"{where} takes none such as {value!r}; known: {', '.join(known)}"

    def _judge_keys(self, where: str, of: tuple[str, str], given: Any) -> Iterator[str]:
        if not isinstance(given, dict):
            yield f"{where} takes a JSON object and was given {given!r}"
            return
        fields = self.source.fields(*of)
        for key, value in given.items():
            if key not in fields:
                yield f"{where} has no key {key!r}"
            else:
                yield from self._judge(f"{where}: {key}", fields[key], value)


def read(root: Path) -> Declared:
    """Read the flags of `vllm serve` from the folder that holds the package."""
    source = Source(root)
    flags = dict(_flags(source, ENGINE)) | dict(_flags(source, SERVER))
    # The server's own flags are one class, and are added in a loop over its fields.
    for name, allowed in source.fields(SERVER, "FrontendArgs").items():
        switch = "bool" in allowed.kinds
        flags.setdefault(name.replace("_", "-"), Flag(allowed, switch, negation=switch))
    return Declared(source, flags)


def _flags(source: Source, module: str) -> Iterator[tuple[str, Flag]]:
    tree = ast.parse(source._path(module).read_text(encoding="utf-8"))
    origins = _origins(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=[ast.Constant(), *_]):
                for word in node.args:
                    if isinstance(word, ast.Constant) and str(word.value).startswith("--"):
                        yield str(word.value)[2:], _flag(source, module, origins, node)
            case _:
                pass


def _origins(tree: ast.Module) -> dict[str, ast.expr]:
    """Names that are given once, such as `cache_kwargs`, and what they are given."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, value)
            case _:
                pass
    return found


def _flag(source: Source, module: str, origins: Mapping[str, ast.expr], call: ast.Call) -> Flag:
    own = {each.arg: each.value for each in call.keywords if each.arg is not None}
    allowed = Allowed()
    for each in call.keywords:
        if each.arg is None:
            allowed |= _spread(source, module, origins, each.value)
    action = ast.unparse(own["action"]) if "action" in own else ""
    if isinstance(own.get("choices"), ast.List | ast.Call):
        words = [part.value for part in ast.walk(own["choices"]) if isinstance(part, ast.Constant)]
        allowed |= Allowed(words=frozenset(map(str, words)))
    elif isinstance(own.get("type"), ast.Name):
        allowed |= Allowed(kinds=frozenset({ast.unparse(own["type"])}))
    bare = "store_true" in action
    text = " ".join(ast.unparse(each.value) for each in call.keywords)
    return Flag(
        allowed if allowed.kinds or allowed.words or allowed.keys else Allowed(kinds=_TEXT),
        switch=bare or "BooleanOptionalAction" in action or "bool" in allowed.kinds,
        negation=not bare,
        deprecated="DEPRECATION" in text or "Deprecated" in text,
    )


def _spread(
    source: Source, module: str, origins: Mapping[str, ast.expr], value: ast.expr
) -> Allowed:
    """What `**value` brings: the type of one field of one configuration class."""
    match value:
        case ast.Dict(keys=keys, values=values):
            inner = [_spread(source, module, origins, each) for key, each in
                     zip(keys, values, strict=True) if key is None]  # fmt: skip
            return inner[0] if inner else Allowed()
        case ast.Subscript(value=base, slice=ast.Constant(value=str() as name)):
            match origins.get(base.id) if isinstance(base, ast.Name) else base:
                case ast.Call(func=ast.Name(id="get_kwargs"), args=[ast.Name(id=kind)]):
                    return source.fields(module, kind)[name]
                case _:
                    pass
        case ast.Name(id=alias) if alias in origins:
            return _spread(source, module, origins, origins[alias])
        case _:
            pass
    raise NotImplementedError(f"flags are declared in another way: {ast.unparse(value)}")


_TEXT = frozenset({"str"})
_OBJECTS = frozenset({"dict", "Any"})
_LISTS = frozenset({"list", "set", "tuple"})


def _is_one_of(kinds: frozenset[str], value: Any) -> bool:
    """Whether a value, as text or from JSON, is of one of these plain types."""
    if isinstance(value, bool):
        return bool(kinds & {"bool", "Any"})
    if isinstance(value, list):
        return bool(kinds & (_LISTS | {"Any"}))
    if isinstance(value, dict):
        return bool(kinds & _OBJECTS)
    if kinds & {"str", "Any", "Path"}:
        return True
    text = str(value)
    if "int" in kinds and text.lstrip("-").isdigit():
        return True
    if "float" in kinds and _is_number(text):
        return True
    return bool(kinds & _OBJECTS) and isinstance(value, str) and _is_object(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
