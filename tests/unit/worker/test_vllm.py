"""vLLM's dialect: command line, metrics and last words."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.contract import ContractError, TerminationReason, WorkerConfig
from stoker_worker.engines import driver_named
from stoker_worker.engines.vllm import Vllm, last_error
from stoker_worker.events import EngineCounters, Sample

DATA = Path(__file__).parent / "data"


def config(**changes: Any) -> WorkerConfig:
    return WorkerConfig("vllm", "/models/m", ["main", "alias"], **changes)


def test_command_line_is_complete_and_stable() -> None:
    given = {
        "max-model-len": "4096",
        "enforce_eager": "true",
        "async-scheduling": "false",
        "aggregate-engine-logging": "false",
        "speculative-config": '{"method":"ngram"}',
        "seed": "-1",
    }
    assert Vllm().arguments(config(args=given, drain_s=30.5)) == [
        "serve",
        "/models/m",
        "--host=0.0.0.0",
        "--port=8000",
        "--shutdown-timeout=31",
        "--enable-server-load-tracking",
        "--served-model-name",
        "main",
        "alias",
        "--disable-access-log-for-endpoints=/health,/metrics,/load,/v1/models",
        "--no-async-scheduling",
        "--enforce-eager",
        "--max-model-len=4096",
        "--seed=-1",
        '--speculative-config={"method":"ngram"}',
    ]


def test_a_flag_of_several_words_is_divided_at_its_blanks() -> None:
    words = Vllm().arguments(config(args={"lora-modules": "a=/models/m/a b=/models/m/b"}))
    assert words[-3:] == ["--lora-modules", "a=/models/m/a", "b=/models/m/b"]


def test_a_profiler_writes_where_it_is_told_and_ends_with_its_steps() -> None:
    (flag,) = (
        each
        for each in Vllm().arguments(config(profile_dir="/traces"))
        if each.startswith("--profiler-config=")
    )
    told = json.loads(flag.partition("=")[2])
    assert (told["profiler"], told["torch_profiler_dir"]) == ("torch", "/traces")
    assert not any("profiler" in each for each in Vllm().arguments(config()))
    assert json.loads(Vllm().start_profiler(7).body or b"") == {"max_iterations": 7}
    assert Vllm().stop_profiler.body == b""


def test_a_drain_of_no_time_is_not_an_abort() -> None:
    assert "--shutdown-timeout=1" in Vllm().arguments(config(drain_s=0))


def test_an_executor_of_one_rank_gives_way_to_several() -> None:
    uni = {"distributed-executor-backend": "uni"}
    flag = "--distributed-executor-backend=uni"
    assert flag in Vllm().arguments(config(args={**uni, "tensor-parallel-size": "1"}))
    for size in ("tensor", "pipeline", "data"):
        several = Vllm().arguments(config(args={**uni, f"{size}-parallel-size": "2"}))
        assert flag not in several
    mp = {"distributed-executor-backend": "mp", "tensor-parallel-size": "2"}
    assert "--distributed-executor-backend=mp" in Vllm().arguments(config(args=mp))


@pytest.mark.parametrize("flag", ["port", "--host", "served_model_name", "disable-log-stats"])
def test_flags_of_ours_are_refused_by_name(flag: str) -> None:
    with pytest.raises(ContractError, match=flag.strip("-").replace("_", "-")):
        Vllm().arguments(config(args={flag: "1"}))


def test_environment_is_the_pods_own_and_reports_to_nobody() -> None:
    given = {"PYTHONPATH": "/engine", "VLLM_NO_USAGE_STATS": "0"}
    assert Vllm().environment(given) == {**given, "DO_NOT_TRACK": "1"}


def test_probes_carry_the_key_and_try_what_other_models_know() -> None:
    requests = Vllm().probes(config(), 2, {"VLLM_API_KEY": "k"})
    assert [request.path for request in requests] == [
        "/v1/completions",
        "/v1/embeddings",
        "/pooling",
    ]
    assert json.loads(requests[0].body or "")["max_tokens"] == 2
    assert {request.headers["Authorization"] for request in requests} == {"Bearer k"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"usage": {"completion_tokens": 2}}', True),
        (b'{"usage": {"completion_tokens": 0}}', False),
        (b'{"data": [{"embedding": [1]}]}', True),
        (b'{"error": "no"}', False),
        (b"[]", False),
        (b"<html>", False),
    ],
)
def test_only_what_the_model_computed_is_an_answer(body: bytes, expected: Any) -> None:
    assert Vllm().is_answer(body) is expected


def test_sample_reads_the_page_of_a_real_engine() -> None:
    page = (DATA / "metrics.txt").read_bytes()
    expected = Sample((EngineCounters("0", 6.0, 3.0),), 4)
    assert Vllm().read_sample([page, b'{"server_load":4}']) == expected


def test_sample_keeps_ranks_apart_and_adds_up_processes() -> None:
    page = b"""
vllm:num_requests_running{engine="0",model_name="a}b"} 2.0
vllm:num_requests_running{engine="1",model_name="a}b"} 1.0
vllm:num_requests_waiting{engine="1",model_name="a}b"} 4.0
vllm:kv_cache_usage_perc{engine="1",model_name="a}b"} 0.25
vllm:iteration_tokens_total_count{engine="0",model_name="a}b",pid="1"} 10.0
vllm:iteration_tokens_total_count{engine="0",model_name="a}b",pid="2"} 5.0
vllm:iteration_tokens_total_count{engine="1",model_name="a}b"} NaN
"""
    assert Vllm().read_sample([page, None]) == Sample(
        (EngineCounters("0", 15.0, 2.0), EngineCounters("1", 0.0, 5.0, 0.25)), None
    )


def test_no_page_is_no_sample_and_an_empty_page_has_no_engine() -> None:
    assert Vllm().read_sample([None, b'{"server_load":0}']) is None
    assert Vllm().read_sample([b"", b"not json"]) == Sample((), None)


@pytest.mark.parametrize(
    ("log", "code", "reason", "words"),
    [
        (
            "broken-weights.log",
            1,
            TerminationReason.MODEL_INVALID,
            "safetensors._safetensors_rust.SafetensorError: Error while deserializing header",
        ),
        (
            "unknown-architecture.log",
            1,
            TerminationReason.MODEL_INVALID,
            "model type `nosuch` but Transformers does not recognize this architecture",
        ),
        (
            "unknown-flag.log",
            2,
            TerminationReason.CONFIG_INVALID,
            "unrecognized arguments: --no-such-flag=1",
        ),
    ],
)
def test_root_cause_is_found_in_what_a_real_engine_said(
    log: str, code: int, reason: str, words: str
) -> None:
    """The logs are those of vLLM 0.32, cut to the lines that differ."""
    found = Vllm().explain(code, (DATA / log).read_text(encoding="utf-8").splitlines())
    assert found.reason == reason
    assert words in found.message
    assert "pid=" not in found.message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            TerminationReason.OUT_OF_MEMORY,
        ),
        (
            "ValueError: Free memory (1/8 GiB) is less than desired GPU memory utilization",
            TerminationReason.OUT_OF_MEMORY,
        ),
        ("RuntimeError: NCCL error: unhandled system error", TerminationReason.ENGINE_CRASHED),
        ("Segmentation fault", TerminationReason.ENGINE_CRASHED),
    ],
)
def test_causes_get_the_reason_that_a_user_can_act_on(line: str, reason: str) -> None:
    log = ["INFO all is well", f"(Worker pid=7) ERROR 11-21 02:19:52 [x.py:9] {line}"]
    found = Vllm().explain(1, log)
    assert (found.reason, found.message) == (reason, line)


def test_weights_that_do_not_fit_are_the_models_fault() -> None:
    log = [
        '(Worker pid=7) ERROR 11-21 02:19:52 [x.py:9]   File "utils.py", line 4, in load_weights',
        "(Worker pid=7) ERROR 11-21 02:19:52 [x.py:9] RuntimeError: start (0) + length (1024)",
    ]
    found = Vllm().explain(1, log)
    assert found.reason == TerminationReason.MODEL_INVALID
    assert found.message == (
        "the weights cannot be loaded: RuntimeError: start (0) + length (1024)"
    )


def test_an_engine_that_said_nothing_is_not_quoted() -> None:
    assert "status 3" in Vllm().explain(3, []).message


def test_echoes_are_quoted_only_when_there_is_nothing_else() -> None:
    echo = "RuntimeError: Engine core initialization failed. See root cause above."
    assert last_error([echo]) == echo
    assert last_error(["OSError: [Errno 28] No space left on device", echo]).startswith("OSError")


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ContractError, match="vllm"):
        driver_named("nosuch")
