"""The worker runs on whatever Python the engine's image has, with whatever is always there."""

import ast
import sys
from pathlib import Path

import pytest

import stoker_worker

SOURCE = Path(stoker_worker.__file__).parent
# The fetcher is another program, with an image and libraries of its own.
FETCH = SOURCE / "fetch"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if FETCH not in path.parents)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_is_python_3_9_and_standard_library_only(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not used here"
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names | {"stoker_worker"}, name
        # `X | Y` outside an annotation is evaluated, and 3.9 cannot.
        assert not isinstance(node, ast.Match)
