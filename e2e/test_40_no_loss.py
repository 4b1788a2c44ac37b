"""What happens to replicas happens to no request: killed, deleted, scaled, changed, evicted.

Fixed replicas, so that each event is ours. The long run with every event ten times over is
`benchmarks/no_loss.py`; this is one of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.chaos import Chaos, kill_pod
from e2e.load.records import Outcome
from e2e.models import PROMPTS
from e2e.stack import Stack, example
from e2e.traffic import Traffic, describe, lost

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "demo"
NAME = "tiny"
TEXTS = tuple(prompt.text for prompt in PROMPTS)
WIDE = {"args": {"max-num-seqs": "16"}}


def set_replicas(stack: Stack, count: int) -> None:
    stack.apply(example(NAME, NAMESPACE, scaling=None, replicas=count, engine=WIDE))
    stack.wait_condition(NAME, NAMESPACE, "Progressing", reason="Settled", seconds=300)
    stack.wait_ready_engines(NAME, NAMESPACE, count)


@pytest.fixture(scope="module")
def one(stack: Stack, tiny: str) -> str:
    set_replicas(stack, 1)
    return tiny


@pytest.fixture(scope="module")
def two(stack: Stack, one: str) -> str:
    set_replicas(stack, 2)
    return one


@pytest.fixture
def traffic(two: str) -> Iterator[Traffic]:
    with Traffic(two, NAME, streams=14, unary=4, prompts=TEXTS, stream_tokens=450) as found:
        found.wait_streaming(10)
        yield found


@pytest.mark.timeout(420)
def test_the_only_engine_killed_under_unary_load(stack: Stack, one: str) -> None:
    """A unary answer has no first byte before it is whole: each is tried again, then held."""
    pod = stack.engine_pods(NAME, NAMESPACE)[0]
    with Traffic(one, NAME, streams=0, unary=6, prompts=TEXTS, unary_tokens=64) as traffic:
        stack.wait_for(lambda: len(traffic.records()) > 12, "requests to flow", 60)
        assert kill_pod(pod)
        stack.wait_for(lambda: len(traffic.in_flight()) >= 6, "requests to wait", 30, every=0.05)
        stack.wait_ready_engines(NAME, NAMESPACE, 1)
        records = traffic.finish()
    assert not lost(records), describe(lost(records))


@pytest.mark.timeout(420)
def test_one_of_two_engines_killed_under_unary_load(stack: Stack, two: str) -> None:
    pod = stack.engine_pods(NAME, NAMESPACE)[0]
    with Traffic(two, NAME, streams=0, unary=8, prompts=TEXTS, unary_tokens=64) as traffic:
        stack.wait_for(lambda: len(traffic.records()) > 16, "requests to flow", 60)
        assert kill_pod(pod)
        before = len(traffic.records())
        stack.wait_for(lambda: len(traffic.records()) > before + 16, "requests to go on", 90)
        records = traffic.finish()
    assert not lost(records), describe(lost(records))
    stack.wait_ready_engines(NAME, NAMESPACE, 2)


@pytest.mark.timeout(420)
def test_engine_pod_evicted(stack: Stack, traffic: Traffic) -> None:
    """A node that goes evicts its pods: to them a deletion, to everybody else a question first."""
    event = Chaos(stack, NAME, NAMESPACE, traffic).evict_engine()
    records = traffic.finish()
    assert event.exposed(), event
    assert not lost(records), describe(lost(records))


@pytest.mark.timeout(420)
def test_frontend_pod_deleted_and_operator_killed(stack: Stack, traffic: Traffic) -> None:
    chaos = Chaos(stack, NAME, NAMESPACE, traffic)
    killed = chaos.kill_operator()
    assert killed.seconds <= 20, "another operator takes over within 20 s"
    deleted = chaos.delete_frontend()
    records = traffic.finish()
    assert killed.exposed()
    assert deleted.exposed()
    assert not lost(records), describe(lost(records))


@pytest.mark.timeout(600)
def test_scaled_down_and_changed(stack: Stack, two: str) -> None:
    # The one with fewer requests goes, so that there have to be enough for both.
    with Traffic(two, NAME, streams=20, unary=4, prompts=TEXTS, stream_tokens=450) as traffic:
        traffic.wait_streaming(14)
        chaos = Chaos(stack, NAME, NAMESPACE, traffic)
        down = chaos.scale_down(1)
        assert down.exposed(), down
        changed = chaos.rollout(1)
        assert changed.exposed(), changed
        records = traffic.finish()
    assert not lost(records), describe(lost(records))
    assert {record.outcome for record in records} == {Outcome.COMPLETE}
