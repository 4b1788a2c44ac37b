"""How a policy is read from a spec, and what a service without scaling gets."""

import pytest

from stoker import autoscale
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.autoscale.policy import Known
from stoker.autoscale.service import known_of
from stoker.model import reasons
from stoker.model.moment import Moment
from stoker.model.scale import History
from stoker.model.work import Work
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
    policy = autoscale.policy_of(spec, worlds.VLLM)
    assert policy is not None
    assert (policy.min_replicas, policy.max_replicas, policy.queue_target) == (0, 5, 7)
    assert (policy.idle_before_zero, policy.stabilization) == (5400, 90)


def test_windows_that_are_not_set_are_learned() -> None:
    policy = autoscale.policy_of(worlds.spec(scaling={"maxReplicas": 5}), worlds.VLLM)
    assert policy is not None
    assert (policy.idle_before_zero, policy.stabilization) == (None, None)


def test_the_objective_says_how_sure_to_be() -> None:
    policies = [
        autoscale.policy_of(
            worlds.spec(scaling={"maxReplicas": 5}, optimization={"objective": objective}),
            worlds.VLLM,
        )
        for objective in ("cost", "throughput", "balanced", "latency")
    ]
    quantiles = [policy.quantile for policy in policies if policy is not None]
    busy = [policy.utilization for policy in policies if policy is not None]
    assert quantiles == [0.5, 0.6, 0.75, 0.9]
    assert busy == sorted(busy, reverse=True)


def test_plan_and_starts_say_what_a_replica_is() -> None:
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 5}))
    work = Work(0.01, 2e-4, 1e-7, 5e-5, 0.0, 0.05, 96, 400_000, 1000, 200)
    world.status = {
        "desiredReplicas": 1,
        "plan": {"maxNumSeqs": 48, "data": 2, "pace": work.to_text()},
        "startup": {"nodeSeconds": 100.0, "imageSeconds": 20.0, "loadSeconds": 30.0},
    }
    assert known_of(world.observe()) == Known(96, work, 150.0)
    world.status = {"plan": {"maxNumSeqs": "many", "pace": "fast"}, "startup": "soon"}
    assert known_of(world.observe()) == Known()


@pytest.mark.parametrize(
    ("ways", "factor"),
    [
        ([{"accelerator": "nvidia-l4", "itl": 1.3}], 1.3),
        # The one that ran last comes first; another type says nothing of this one.
        (
            [{"accelerator": "nvidia-a10", "itl": 3.0}, {"accelerator": "nvidia-l4", "itl": 0.8}],
            0.8,
        ),
        ([{"accelerator": "nvidia-l4", "itl": 0.8}, {"accelerator": "nvidia-l4", "itl": 3.0}], 0.8),
        ([{"accelerator": "nvidia-l4", "kv": 0.9}], 1.0),
        ([{"accelerator": "nvidia-l4", "itl": "fast"}], 1.0),
        ([{"accelerator": "nvidia-l4", "itl": 0}], 1.0),
        ([{"accelerator": "nvidia-l4", "itl": True}], 1.0),
        ("nonsense", 1.0),
    ],
)
def test_a_pace_follows_what_engines_reported(ways: object, factor: float) -> None:
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 5}))
    work = Work(0.01, 2e-4, 1e-7, 5e-5, 0.0, 0.05, 96, 400_000, 1000, 200)
    world.status = {
        "plan": {
            "accelerator": "nvidia-l4",
            "pace": work.to_text(),
            "measured": {"ways": ways},
        }
    }
    assert known_of(world.observe()).work == work.slower(factor)


def test_fixed_replicas_have_no_policy() -> None:
    assert autoscale.policy_of(worlds.spec(replicas=2), worlds.VLLM) is None


@pytest.mark.parametrize(
    ("args", "concurrency"),
    [({}, 256), ({"max-num-seqs": "16"}, 16), ({"max-num-seqs": "many"}, 256)],
)
def test_concurrency_is_the_engines_own_limit(args: dict[str, str], concurrency: int) -> None:
    spec: InferenceServiceSpec = worlds.spec(engine={"args": args}, scaling={"maxReplicas": 2})
    policy = autoscale.policy_of(spec, worlds.VLLM)
    assert policy is not None
    assert policy.concurrency == concurrency


def test_a_plan_says_how_much_a_replica_computes() -> None:
    spec = worlds.spec(scaling={"maxReplicas": 2})
    policy = autoscale.policy_of(spec, worlds.VLLM, Known(places=48))
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
