"""How a policy is read from a spec, and what a service without scaling gets."""

import pytest

from stoker import autoscale
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.moment import Moment
from stoker.model.scale import History
from tests.unit.plan import worlds


def test_durations_and_numbers_come_from_the_spec() -> None:
    spec = worlds.spec(
        scaling={
            "minReplicas": 0,
            "maxReplicas": 5,
            "target": {"queueDepth": 7},
            "scaleToZeroAfter": "1h30m",
            "scaleDownStabilization": "90s",
        }
    )
    assert autoscale.policy_of(spec, worlds.PLATFORM) == autoscale.Policy(0, 5, 7, 256, 5400, 90)


def test_fixed_replicas_have_no_policy() -> None:
    assert autoscale.policy_of(worlds.spec(replicas=2), worlds.PLATFORM) is None


@pytest.mark.parametrize(
    ("args", "concurrency"),
    [({}, 256), ({"max-num-seqs": "16"}, 16), ({"max-num-seqs": "many"}, 256)],
)
def test_concurrency_is_the_engines_own_limit(args: dict[str, str], concurrency: int) -> None:
    spec: InferenceServiceSpec = worlds.spec(engine={"args": args}, scaling={"maxReplicas": 2})
    policy = autoscale.policy_of(spec, worlds.PLATFORM)
    assert policy is not None
    assert policy.concurrency == concurrency


def test_a_plan_says_how_much_a_replica_computes() -> None:
    spec = worlds.spec(scaling={"maxReplicas": 2})
    policy = autoscale.policy_of(spec, worlds.PLATFORM, 48)
    assert policy is not None
    assert policy.concurrency == 48


@pytest.mark.parametrize(("replicas", "wanted"), [(None, 1), (0, 0), (3, 3)])
def test_without_scaling_the_spec_decides(replicas: int | None, wanted: int) -> None:
    world = worlds.World(worlds.spec(replicas=replicas))
    decision = autoscale.decide_service(
        world.observe(), None, History(), worlds.PLATFORM, Moment(0, 0)
    )
    assert decision.replicas == wanted
    assert decision.verdict.reason == reasons.FIXED_REPLICAS
    assert not decision.active


def test_an_unreadable_spec_keeps_the_number() -> None:
    world = worlds.World(worlds.spec(replicas=3))
    world.status = {"desiredReplicas": 3}
    world.spec_error = "spec.model: missing"
    decision = autoscale.decide_service(
        world.observe(), None, History(), worlds.PLATFORM, Moment(0, 0)
    )
    assert decision.replicas == 3
    assert decision.verdict.reason == reasons.INVALID_SPEC
