"""One cluster for the whole run: brought up once, left running for the next run.

`STOKER_E2E_DOWN=1` takes it away at the end instead. Of processes side by side, one has it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

from e2e.cluster import Cluster, connect, host, lifecycle
from e2e.engine import ensure_site_packages
from e2e.models import ensure_models
from e2e.prometheus import Prometheus, gpu, record
from e2e.stack import EXAMPLE, Stack, example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

# A first run builds programs and images inside the fixture; a test proper is far quicker.
PATIENCE = 2400


class OneCluster(LoadFileScheduling):  # type: ignore[misc]
    """Files side by side, and all phases as if they were one file.

    Not by `xdist_group`: marks are silently ignored with pytest 9.2 (pytest-xdist #1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("e2e/") else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Give all phases to one process, since there is one cluster; other files go by themselves."""
    return OneCluster(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give end-to-end tests the time that a cold cache takes, unless they say otherwise."""
    for item in items:
        if item.nodeid.startswith("e2e/") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with all images pushed; other tests that want it meanwhile are told why not."""
    with host.lock("tests", "Other tests use the cluster: wait for their end, or end them."):
        yield connect()
        if os.environ.get("STOKER_E2E_DOWN") == "1":
            lifecycle.down()


@pytest.fixture(scope="session")
def stack(cluster: Cluster) -> Stack:
    """Stoker, installed by its chart."""
    found = Stack(cluster, ensure_site_packages(), ensure_models())
    found.install()
    return found


@pytest.fixture(scope="session")
def prometheus(stack: Stack) -> Prometheus:
    """Prometheus, which records from here on."""
    if stack.cluster.mode != "local":
        pytest.skip("Prometheus is asked by a ClusterIP, which only this machine reaches")
    return record(stack, gpu.JOBS)


@pytest.fixture(scope="session")
def tiny(stack: Stack, request: pytest.FixtureRequest) -> str:
    """The README's example, word for word; its address once a replica answers.

    Then one replica stays, so that tests without traffic find an engine to look at.
    """
    if stack.cluster.mode == "local":
        request.getfixturevalue("prometheus")  # so that it records every test with a service
    stack.prepare_namespace("demo")
    stack.kubectl("delete", "infer", "--all", "-n", "demo", "--wait=true")
    stack.kubectl("apply", "--server-side", "-f", str(EXAMPLE))
    stack.wait_ready_engines("tiny", "demo", 1, seconds=300)
    stack.wait_condition("tiny", "demo", "Ready", status="True")
    scaling = {**example("tiny", "demo")["spec"]["scaling"], "minReplicas": 1}
    stack.apply(example("tiny", "demo", scaling=scaling))
    return stack.address("tiny", "demo")


@pytest.fixture(scope="module")
def fixed(stack: Stack, tiny: str) -> str:
    """The same service with one replica by hand, so that only the test changes anything."""
    stack.apply(example("tiny", "demo", scaling=None, replicas=1))
    stack.wait_condition("tiny", "demo", "Progressing", reason="Settled", seconds=300)
    stack.wait_ready_engines("tiny", "demo", 1)
    return tiny
