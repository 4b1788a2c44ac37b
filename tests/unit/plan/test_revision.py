"""Which changes make a new revision, and which must not."""

from typing import Any

import pytest

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.location import locate
from stoker.plan import revision
from tests.unit.plan import worlds


def named(wanted: InferenceServiceSpec) -> str:
    location = locate(wanted, None, {})
    assert location is not None
    return revision.revision_of(worlds.KEY, wanted, location)


BASE = named(worlds.spec())


def test_the_hash_is_frozen() -> None:
    # A change here restarts every replica of every service at the upgrade of the operator.
    full = worlds.spec(
        model={"uri": "pvc://models/tiny", "servedName": "tiny", "aliases": ["small"]},
        engine={"args": {"max-num-seqs": "8"}, "env": [{"name": "OMP_NUM_THREADS", "value": "1"}]},
        accelerator={"types": ["nvidia-l4"], "perReplica": 2},
        context={"maxModelLen": 4096},
        template={"labels": {"team": "a"}, "resources": {"requests": {"cpu": "1"}}},
    )
    assert BASE == "82d6ce94"
    assert named(full) == "54fc22e6"


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"uri": "pvc://models/other"}},
        {"model": {"uri": "pvc://models"}},
        {"model": {"uri": "pvc://models/tiny", "servedName": "t"}},
        {"model": {"uri": "pvc://models/tiny", "aliases": ["t"]}},
        {"engine": {"image": "registry.test/vllm:0.34"}},
        {"engine": {"args": {"max-num-seqs": "8"}}},
        {"engine": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}},
        {"engine": {"profiling": True}},
        {"accelerator": {"types": ["nvidia-l4"]}},
        {"accelerator": {"perReplica": 2}},
        {"context": {"maxModelLen": 64}},
        {"template": {"nodeSelector": {"zone": "a"}}},
        {"template": {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}},
        {"template": {"priorityClassName": "serving"}},
        {"template": {"labels": {"team": "a"}}},
        {"template": {"annotations": {"note.example.com/a": "b"}}},
        {"template": {"resources": {"limits": {"memory": "4Gi"}}}},
        {"template": {"runtimeClassName": "nvidia"}},
    ],
)
def test_what_a_replica_is_made_of_makes_a_revision(fields: dict[str, Any]) -> None:
    assert named(worlds.spec(**fields)) != BASE


@pytest.mark.parametrize(
    "fields",
    [
        {"replicas": 5},
        {"scaling": {"maxReplicas": 4}},
        {"rollout": {"strategy": "recreate", "maxSurge": 2}},
        {"frontend": {"replicas": 2, "holdTimeout": "1m"}},
        {"model": {"uri": "pvc://models/tiny/"}},
        {"model": {"uri": "pvc://models/tiny", "servedName": "llama"}},
        {"parallelism": {"tensor": 1}},
    ],
)
def test_what_is_not_part_of_a_replica_does_not(fields: dict[str, Any]) -> None:
    assert named(worlds.spec(**fields)) == BASE


def test_equal_amounts_are_equal() -> None:
    one = worlds.spec(template={"resources": {"requests": {"cpu": "1000m", "memory": "1Gi"}}})
    same = worlds.spec(template={"resources": {"requests": {"cpu": 1, "memory": "1024Mi"}}})
    assert named(one) == named(same)


def test_order_of_variables_is_nothing() -> None:
    variables = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    one = worlds.spec(engine={"env": variables})
    same = worlds.spec(engine={"env": variables[::-1]})
    assert named(one) == named(same)


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="set"):
        revision.canonical({"a": {1}})


def test_every_field_of_the_spec_is_a_factor_or_known_not_to_be() -> None:
    """A field that joins the spec must be thought about here."""
    known = {
        "model",
        "engine",
        "accelerator",
        "parallelism",
        "context",
        "optimization",
        "template",
    }
    none_of_the_pods = {"replicas", "scaling", "rollout", "frontend", "cost"}
    assert set(type(worlds.spec()).model_fields) == known | none_of_the_pods
