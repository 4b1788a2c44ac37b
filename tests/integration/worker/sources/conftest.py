"""Fixtures: a folder for a Secret, and web servers that end with their test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.scripted import Route, Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Serve = Callable[..., Web]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; another `host` (127.0.0.2, …) is another host to the one who reads."""
    with ExitStack() as stack:

        def start(routes: Mapping[str, Route], host: str = "127.0.0.1") -> Web:
            return stack.enter_context(Web(routes, host))

        yield start


@pytest.fixture
def secret(tmp_path: Path) -> Callable[..., Path]:
    """Write the keys of a Secret as the kubelet does: a file for each."""

    def write(keys: Mapping[str, str]) -> Path:
        folder = tmp_path / "secret"
        folder.mkdir(exist_ok=True)
        for name, value in keys.items():
            (folder / name).write_text(value)
        return folder

    return write
