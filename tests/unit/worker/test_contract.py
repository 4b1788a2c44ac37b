"""What the operator writes is what the worker reads, across versions."""

import json
from typing import Any

import pytest

from stoker_worker import contract
from stoker_worker.contract import ContractError, Termination, WorkerConfig


def test_config_survives_the_way_through_the_environment() -> None:
    config = WorkerConfig("vllm", "/models/m", ["a", "b"], {"seed": "1"}, drain_s=7.5)
    assert WorkerConfig.from_json(config.to_json()) == config


def test_equal_configs_give_equal_bytes() -> None:
    one = WorkerConfig("vllm", "/m", ["a"], {"x": "1", "a": "2"})
    two = WorkerConfig("vllm", "/m", ["a"], {"a": "2", "x": "1"})
    assert one.to_json() == two.to_json()


def test_fields_of_a_newer_operator_are_ignored_and_those_of_an_older_one_defaulted() -> None:
    text = '{"engine":"vllm","model_path":"/m","served_names":["a"],"not_yet_invented":1}'
    assert WorkerConfig.from_json(text) == WorkerConfig("vllm", "/m", ["a"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"engine": ""}, "engine"),
        ({"served_names": []}, "served_names"),
        ({"served_names": "a"}, "served_names"),
        ({"args": {"x": 1}}, "args"),
        ({"drain_s": -1}, "drain_s"),
        ({"drain_s": "120"}, "drain_s"),
        ({"drain_s": True}, "drain_s"),
        ({"engine_port": 1.5}, "engine_port"),
        ({"prefetch": "yes"}, "prefetch"),
        ({"allow_pickle": 1}, "allow_pickle"),
        ({"profile_dir": None}, "profile_dir"),
        ({"engine_command": "vllm"}, "engine_command"),
    ],
)
def test_a_bad_value_is_named(change: dict[str, Any], word: str) -> None:
    good = json.loads(WorkerConfig("vllm", "/m", ["a"]).to_json())
    with pytest.raises(ContractError, match=word):
        WorkerConfig.from_json(json.dumps({**good, **change}))


@pytest.mark.parametrize(
    ("text", "word"), [("", "JSON"), ("[]", "object"), ('{"engine":"vllm"}', "model_path")]
)
def test_what_is_no_config_is_refused(text: str, word: str) -> None:
    with pytest.raises(ContractError, match=word):
        WorkerConfig.from_json(text)


def test_termination_message_is_whole_below_the_kubelets_limit() -> None:
    for message in ("short", "ü" * 4000, '"' * 4000, "x" * 100_000):
        text = Termination("EngineCrashed", message).to_json()
        assert len(text.encode()) <= 4096
        read = Termination.parse(text)
        assert read is not None
        assert message.startswith(read.message)


@pytest.mark.parametrize("text", ["", "OOM", "[]", "{}", '{"reason": 1}'])
def test_a_strangers_termination_message_is_not_ours(text: str) -> None:
    assert Termination.parse(text) is None


def test_grace_period_covers_the_whole_drain() -> None:
    config = WorkerConfig("vllm", "/m", ["a"], settle_s=3, drain_s=120, teardown_s=15)
    assert config.grace_period_s() == 138 + contract.KILL_MARGIN_S


def test_the_worker_runs_where_it_is_installed() -> None:
    assert contract.WORKER_APP.startswith(contract.INSTALL_DIR + "/")
    assert contract.INSTALL_COMMAND[-1] == contract.INSTALL_DIR
