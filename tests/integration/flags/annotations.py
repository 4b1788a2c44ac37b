"""What the annotations of Python source allow, found without importing it.

vLLM declares what a flag takes as the type of a dataclass's field. The type may be an alias in
another module, a Literal of Literals, an enumeration, or another dataclass that is given as JSON.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Allowed:
    """The values of a type."""

    words: frozenset[str] = frozenset()
    """Of Literals and enumerations."""
    kinds: frozenset[str] = frozenset()
    """Names of plain types: str, int, float, bool, dict, …; Path and Any and the like as well."""
    keys: tuple[str, str] | None = None
    """Module and class of a dataclass whose fields are the keys of a JSON object."""

    def __or__(self, other: Allowed) -> Allowed:
        return Allowed(self.words | other.words, self.kinds | other.kinds, self.keys or other.keys)


@dataclass
class Source:
    """A folder of packages."""

    root: Path
    _modules: dict[str, dict[str, ast.AST]] = field(default_factory=dict)

    def names(self, module: str) -> dict[str, ast.AST]:
        """Return what a module binds at its top; what is for type checkers comes first."""
        if module not in self._modules:
            found: dict[str, ast.AST] = {}
            tree = ast.parse(self._path(module).read_text(encoding="utf-8"))
            for statement in _statements(tree.body):
                for name in _bound(statement):
                    found.setdefault(name, statement)
            self._modules[module] = found
        return self._modules[module]

    def find(self, module: str, name: str) -> tuple[str, ast.AST]:
        """Follow imports to the statement that makes a name, and the module that it is in.

        Raises
        ------
        LookupError
            If the source does not have it.
        """
        try:
            statement = self.names(module)[name]
        except (KeyError, FileNotFoundError) as error:
            raise LookupError(f"{module}.{name}") from error
        if not isinstance(statement, ast.ImportFrom):
            return module, statement
        origin = next(each.name for each in statement.names if name in (each.asname, each.name))
        return self.find(self._from(module, statement), origin)

    def fields(self, module: str, name: str) -> dict[str, Allowed]:
        """Return the fields of a dataclass, inherited ones too, by name."""
        home, statement = self.find(module, name)
        assert isinstance(statement, ast.ClassDef), f"{module}.{name} is no class"
        found: dict[str, Allowed] = {}
        for base in statement.bases:
            if isinstance(base, ast.Name) and self._is_ours(home, base.id):
                found |= self.fields(home, base.id)
        for part in statement.body:
            match part:
                case ast.AnnAssign(target=ast.Name(id=field_name)) if _is_given(part):
                    found[field_name] = self.allowed(home, part.annotation)
                case _:
                    pass
        return found

    def allowed(self, module: str, annotation: ast.AST) -> Allowed:
        """Return what an annotation allows."""
        match annotation:
            case ast.Constant(value=None):
                return Allowed()
            case ast.Constant(value=str() as text):
                return self.allowed(module, ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.allowed(module, left) | self.allowed(module, right)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
                return self._literal(module, inner)
            case ast.Subscript(value=ast.Name(id="Annotated" | "SkipValidation"), slice=inner):
                first = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
                return self.allowed(module, first)
            case ast.Subscript(value=ast.Name(id=name)):
                return Allowed(kinds=frozenset({name}))
            case ast.Attribute(attr=name):
                return self._attribute(module, annotation, name)
            case ast.Name(id=name):
                return self._named(module, name)
            case _:
                raise NotImplementedError(ast.unparse(annotation))

    def _literal(self, module: str, inner: ast.AST) -> Allowed:
        found = Allowed()
        for part in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
            if isinstance(part, ast.Constant):
                found |= Allowed(words=frozenset({str(part.value)}))
            else:
                found |= self.allowed(module, part)
        return found

    def _attribute(self, module: str, annotation: ast.Attribute, name: str) -> Allowed:
        """A name of an imported module, `import a.b as c`; anything else is a plain type."""
        if isinstance(annotation.value, ast.Name):
            imported = self.names(module).get(annotation.value.id)
            if isinstance(imported, ast.Import):
                return self._named(imported.names[0].name, name)
        return Allowed(kinds=frozenset({name}))

    def _named(self, module: str, name: str) -> Allowed:
        plain = Allowed(kinds=frozenset({name}))
        if not self._is_ours(module, name):
            return plain
        home, statement = self.find(module, name)
        match statement:
            case ast.ClassDef(bases=bases) if any("Enum" in ast.unparse(base) for base in bases):
                return Allowed(words=frozenset(_members(statement)))
            case ast.ClassDef():
                return Allowed(kinds=frozenset({"dict"}), keys=(home, name))
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.AST() as value):
                return self.allowed(home, value)
            case _:
                return plain

    def _is_ours(self, module: str, name: str) -> bool:
        try:
            self.find(module, name)
        except LookupError:
            return False
        return True

    def _from(self, module: str, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = module.split(".")
        if self._path(module).name == "__init__.py":
            parts.append("")
        return ".".join([*parts[: -statement.level], statement.module or ""]).rstrip(".")

    def _path(self, module: str) -> Path:
        path = self.root.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def strict(allowed: Allowed) -> Allowed:
    """Take `str` from a type that also names its words: it is there for plugins."""
    return replace(allowed, kinds=allowed.kinds - {"str"}) if allowed.words else allowed


def _is_given(part: ast.AnnAssign) -> bool:
    """Whether a field is given by whoever makes the object, rather than found out by itself."""
    if "ClassVar" in ast.unparse(part.annotation):
        return False
    return part.value is None or "init=False" not in ast.unparse(part.value)


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Top-level statements, those for type checkers before the ones that stand in for them."""
    checking: list[ast.stmt] = []
    plain: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            checking += statement.body
        else:
            plain.append(statement)
    return checking + plain


def _bound(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [each.asname or each.name for each in names]
        case _:
            return []


def _members(statement: ast.ClassDef) -> Iterator[str]:
    """Names, and numbers where they stand for names."""
    for part in statement.body:
        match part:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name
                if isinstance(value, ast.Constant) and isinstance(value.value, int):
                    yield str(value.value)
            case _:
                pass
