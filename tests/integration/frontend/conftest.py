"""One control plane for all frontends of the session."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import programs
from tests.integration.frontend.support import (
    NAMESPACE,
    FrontendRig,
    make_input,
    picker_crds,
)
from tests.support.controlplane import ControlPlane

# Several checkouts may test at once on one machine: each has loopback addresses of its own.
_ADDRESSES = (
    f"127.{os.getpid() % 250 + 2}.{a}.{b}" for a, b in itertools.product(range(1, 250), repeat=2)
)


@pytest.fixture(scope="session")
def frontend_programs() -> dict[str, Path]:
    return {**programs.ensure(["epp"]), "envoy": programs.ensure_envoy()}


@pytest.fixture(scope="package")
def plane(bare_plane: ControlPlane) -> ControlPlane:
    for path in picker_crds():
        bare_plane.apply(path.read_text(), "--force-conflicts")
    bare_plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
    bare_plane.namespace(NAMESPACE)
    account = {"name": "default", "namespace": NAMESPACE}
    bare_plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    return bare_plane


@pytest.fixture
def address() -> Callable[[], str]:
    return lambda: next(_ADDRESSES)


@pytest.fixture
def frontend(
    plane: ControlPlane,
    frontend_programs: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., FrontendRig]]:
    """Start frontends; each test has a service of its own."""
    with ExitStack() as stack:

        def start(**changes: Any) -> FrontendRig:
            service = f"s{abs(hash(request.node.nodeid)) % 10_000_000}"
            # A port is asked from the system and used a moment later; should somebody take it in
            # between, the start is tried again with others.
            for attempt in range(3):
                given = make_input(service, **changes)
                rig = FrontendRig(
                    tmp_path / f"{service}-{attempt}", plane, frontend_programs, given
                )
                try:
                    return stack.enter_context(rig)
                except AssertionError:
                    if attempt == 2:
                        raise
            raise AssertionError

        yield start
