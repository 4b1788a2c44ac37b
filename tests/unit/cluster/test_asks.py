"""What a pod asks of accelerators, as Stoker renders it and as anybody may change it."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.cluster.asks import asks_of, ranks_of
from stoker_worker import contract


def engine(**fields: Any) -> dict[str, Any]:
    sidecar = {"name": "sidecar", "resources": {"limits": {"nvidia.com/gpu": "7"}}}
    return {"containers": [sidecar, {"name": "engine", **fields}]}


def config(args: dict[str, str], nodes: int = 1) -> dict[str, Any]:
    told = contract.WorkerConfig("vllm", "/model", ["tiny"], args, nodes=nodes)
    return engine(env=[{"name": contract.ENV_CONFIG, "value": told.to_json()}])


@pytest.mark.parametrize(
    ("limits", "asks"),
    [
        ({"nvidia.com/gpu": "4", "memory": "1Gi"}, (("nvidia.com/gpu", 4),)),
        ({"nvidia.com/mig-1g.10gb": 1}, (("nvidia.com/mig-1g.10gb", 1),)),
        ({"nvidia.com/gpu": "0"}, ()),
        ({"nvidia.com/gpu": "many"}, ()),
        ({}, ()),
    ],
)
def test_extended_resources_of_the_engine_alone(limits: dict[str, Any], asks: object) -> None:
    assert asks_of(engine(resources={"limits": limits})) == asks


def test_ranks_of_processors() -> None:
    assert ranks_of(config({})) == 1
    assert ranks_of(config({"tensor-parallel-size": "2", "data-parallel-size": "3"})) == 6
    assert ranks_of(config({"tensor-parallel-size": "4"}, nodes=2)) == 2


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"args": 1}', '{"args": {"tensor-parallel-size": "x"}}']
)
def test_a_config_that_makes_no_sense_is_one_rank(text: str) -> None:
    assert ranks_of(engine(env=[{"name": contract.ENV_CONFIG, "value": text}])) == 1
    assert ranks_of({}) == 1
    assert asks_of({}) == ()
