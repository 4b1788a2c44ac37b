"""The worker over a real vLLM. Starts are dear, so each test is one life of one engine."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from e2e.models import ensure_broken_model
from stoker.commands import operators, recorder
from stoker.commands.recorder import Recorder
from stoker_worker.contract import PATH_LOAD, TerminationReason
from tests.integration.worker.support import STALL, START_S, Worker, wait_until
from tests.support.published import flip_bit, publish

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def published(model: Path, tmp_path: Path) -> Path:
    """The model as a cache publishes it, on a volume that was copied since: every time is new."""
    folder = shutil.copytree(model, tmp_path / "published")
    publish(folder)
    for file in folder.iterdir():
        file.touch()
    return folder


def test_a_whole_life(start: Callable[..., Worker], published: Path, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    worker = start(published, **STALL, settle_s=5.0, drain_s=90.0, profile_dir=str(traces))
    _check_start(worker)
    _check_idleness(worker)
    asyncio.run(_check_profile(worker, tmp_path))
    assert not list(traces.iterdir()), "what was fetched is gone"
    _check_saturation(worker)
    _check_recovery(worker)
    _check_drain(worker)


def _check_start(worker: Worker) -> None:
    wait_until(lambda: worker.get("/livez")[0] == 200, 20, "the worker answers at once")
    assert not worker.ready()
    assert worker.state()["phase"] == "Starting"
    worker.wait_ready()
    # Ready means that the engine has made tokens already.
    assert worker.engine_metric("vllm:generation_tokens_total") == worker.config.warmup_tokens
    seconds = worker.state()["startSeconds"]
    assert 0 < seconds["engineStarted"] < seconds["healthy"] < seconds["firstToken"]
    # Every file was hashed while the engine imported its code, and nobody waited for that.
    assert seconds["engineStarted"] < seconds["modelProven"] < seconds["healthy"]
    told = worker.state()["model"]
    assert told["hashed"] == told["files"] > 0
    assert told["proof"] == "good"
    # The engine's environment is the pod's own, without our configuration.
    (server,) = (pid for pid in worker.engine_pids("serve") if os.getsid(pid) == pid)
    environment = Path(f"/proc/{server}/environ").read_text(encoding="utf-8")
    assert "PYTHONPATH=" in environment
    assert "STOKER_" not in environment


def _check_idleness(worker: Worker) -> None:
    idle = worker.load()
    assert (idle.running, idle.waiting, idle.kv_cache) == (0, 0, 0.0)
    assert idle.kv_tokens
    assert idle.timings is not None
    assert idle.started
    assert 0 < time.time() - idle.started < 2 * START_S
    # A busy engine tells its version later than its numbers.
    told = re.compile(r',version="[^"]')
    wait_until(lambda: bool(told.search(worker.get(PATH_LOAD)[1])), 30, "the version is told")
    page = worker.get(PATH_LOAD)[1]
    for bucket in ("time_to_first_token", "inter_token_latency"):
        assert f"vllm:{bucket}_seconds_bucket{{" in page
    steps = worker.engine_metric("vllm:iteration_tokens_total_count")
    time.sleep(1.5 * worker.config.stall_ready_s)
    assert worker.ready()
    # Not one probe: an idle engine stays idle, and a service can scale to zero.
    assert worker.engine_metric("vllm:iteration_tokens_total_count") == steps


async def _check_profile(worker: Worker, folder: Path) -> None:
    """A trace with the command's own client: out of rotation, unjudged, and back."""
    root = f"http://127.0.0.1:{worker.config.worker_port}"
    (core,) = worker.engine_pids("EngineCore")
    before = worker.begin(1, 1500)[0]
    async with aiohttp.ClientSession() as session:
        found = Recorder(session, root, "engine-0")
        await found.begin(20)
        async with found:
            assert not worker.ready()
            await found.until(recorder.RECORDING, 120, lambda _: None)
            assert before.done(), "what ran has finished before anything is recorded"
            assert before.result().chunks == 1500
            os.kill(core, signal.SIGSTOP)
            recorded = worker.streams(1, 40)[0]
            await asyncio.sleep(worker.config.stall_ready_s + 1)
            os.kill(core, signal.SIGCONT)
            assert worker.state()["phase"] == "Profiling"
            assert (await asyncio.wrap_future(recorded)).chunks == 40
            await found.enough()
            await found.until(recorder.WRITTEN, 120, lambda _: None)
            assert worker.ready()
            table, trace = sorted(found.files(), key=lambda each: each.name.endswith(".gz"))
            named = [each.name for each in operators.read((await found.read(table)).decode())]
            await found.save(trace, folder / "trace", lambda _: None)
        other = Recorder(session, root, "engine-0")
        await other.begin(20)
        async with other:
            assert not worker.ready()
    assert any("attention" in name for name in named), named
    assert any(name.startswith("aten::") for name in named)
    assert json.loads(gzip.decompress((folder / "trace").read_bytes()))["traceEvents"]
    wait_until(worker.ready, 20, "who gives a replica back early has it back")
    assert worker.metric("stoker_worker_stalls_total") == 0


def _check_saturation(worker: Worker) -> None:
    streams = worker.streams(60, 300)  # eight run, the rest waits
    longest = 0.0
    while not all(stream.done() for stream in streams):
        asked = time.monotonic()
        assert worker.ready()
        longest = max(longest, time.monotonic() - asked)
        time.sleep(0.2)
    assert all(stream.result().chunks == 300 for stream in streams)
    # As long as the liveness probe waits: later, and the kubelet would end the engine.
    assert longest < 10, "a probe is answered while the engine takes every core"


def _check_recovery(worker: Worker) -> None:
    """The engine core stands still, /health goes on, and then the engine core goes on too."""
    (core,) = worker.engine_pids("EngineCore")
    # First it stands still, and then it is asked: the engine of so small a model outpaces its own
    # server, and clients have been seen to get the first token when the last was long made.
    os.kill(core, signal.SIGSTOP)
    streams = worker.streams(12, 300)
    limit = worker.config.stall_ready_s + worker.config.heartbeat_s + 4
    wait_until(lambda: not worker.ready(), limit, "a hung engine leaves rotation")
    assert worker.state()["phase"] == "Stalled"
    os.kill(core, signal.SIGCONT)
    wait_until(worker.ready, 10, "an engine that goes on comes back")
    assert [stream.result(120).chunks for stream in streams] == [300] * 12
    assert worker.metric("stoker_worker_stalls_total") == 1


def _check_drain(worker: Worker) -> None:
    (core,) = worker.engine_pids("EngineCore")
    os.kill(core, signal.SIGSTOP)  # or they may be over when the worker hears of its end
    streams = worker.streams(4, 3500)
    time.sleep(1)
    worker.process.terminate()
    wait_until(lambda: not worker.ready(), 1, "readiness goes at once")
    os.kill(core, signal.SIGCONT)
    # Pickers need a moment to notice: what they still send is answered like everything else.
    late = worker.stream(10)
    assert (late.chunks, late.finish, late.done) == (10, "length", True)
    for stream in streams:
        seen = stream.result(120)
        assert (seen.chunks, seen.finish, seen.done) == (3500, "length", True)
    assert worker.wait(60) == 0
    assert worker.termination() is None
    worker.check_nothing_is_left()


def test_a_hung_engine_is_killed_and_says_why(pair: list[Worker]) -> None:
    worker = pair[0]
    (core,) = worker.engine_pids("EngineCore")
    # It hangs while it is idle, so its gauges will read 0 for ever.
    os.kill(core, signal.SIGSTOP)
    time.sleep(worker.config.stall_ready_s + 2)
    assert worker.ready(), "an engine without work cannot be seen to hang"
    request = worker.streams(1, 50)[0]
    asked = time.monotonic()
    wait_until(lambda: not worker.ready(), worker.config.stall_ready_s + 4, "it leaves rotation")
    assert worker.engine_metric("vllm:num_requests_running") == 0
    assert worker.wait(worker.config.stall_restart_s + 15) == 1
    assert time.monotonic() - asked >= worker.config.stall_restart_s - 1
    said = worker.termination()
    assert said is not None
    assert said.reason == TerminationReason.ENGINE_HUNG
    assert "not answered: 1" in said.message
    # The connection ends, with an error or without, but never with the mark of a whole answer.
    assert request.exception(30) is not None or not request.result().done
    worker.check_nothing_is_left()


def test_a_dead_engine_core_ends_the_worker(pair: list[Worker]) -> None:
    worker = pair[1]
    (core,) = worker.engine_pids("EngineCore")
    os.kill(core, signal.SIGKILL)
    code = worker.wait(60)
    said = worker.termination()
    assert code != 0
    assert said is not None
    assert said.reason == TerminationReason.ENGINE_CRASHED
    worker.check_nothing_is_left()


def test_a_broken_checkpoint_is_reported_in_the_engines_words(start: Callable[..., Worker]) -> None:
    worker = start(ensure_broken_model())
    assert worker.wait(START_S) == 1
    said = worker.termination()
    assert said is not None
    assert said.reason == TerminationReason.MODEL_INVALID
    assert said.message in worker.log()
    assert "Error" in said.message


def test_a_flipped_bit_is_found_before_any_answer(
    start: Callable[..., Worker], published: Path
) -> None:
    weights = next(published.glob("*.safetensors"))
    flip_bit(weights, weights.stat().st_size - 1)
    worker = start(published)
    assert worker.wait(START_S) == 1
    said = worker.termination()
    assert said is not None
    assert said.reason == TerminationReason.MODEL_CORRUPT
    assert said.message.startswith(f"{weights.name} has sha256 ")
    worker.check_nothing_is_left()


def test_a_truncated_file_is_refused_before_the_engine_starts(
    start: Callable[..., Worker], published: Path
) -> None:
    weights = next(published.glob("*.safetensors"))
    os.truncate(weights, weights.stat().st_size // 2)
    worker = start(published)
    assert worker.wait(20) == 1
    said = worker.termination()
    assert said is not None
    assert said.reason == TerminationReason.MODEL_CORRUPT
    assert f"{weights.name} has " in said.message
    assert "vLLM" not in worker.log()


def test_an_engine_killed_while_it_loads(start: Callable[..., Worker], model: Path) -> None:
    worker = start(model)
    wait_until(lambda: bool(worker.engine_pids("serve")), 20, "the engine is started")
    os.kill(worker.engine_pids("serve")[0], signal.SIGKILL)
    assert worker.wait(20) == 128 + signal.SIGKILL
    said = worker.termination()
    assert said is not None
    assert "signal 9" in said.message


def test_terminated_while_it_loads(start: Callable[..., Worker], model: Path) -> None:
    worker = start(model)
    wait_until(lambda: bool(worker.engine_pids("serve")), 20, "the engine is started")
    time.sleep(2)
    worker.process.terminate()
    assert worker.wait(worker.config.teardown_s + 10) == 0
    assert worker.termination() is None


def test_a_missing_model_ends_at_once(start: Callable[..., Worker], tmp_path: Path) -> None:
    worker = start(tmp_path / "nosuch")
    assert worker.wait(20) == 1
    said = worker.termination()
    assert said is not None
    assert said.reason == TerminationReason.MODEL_NOT_FOUND


def test_what_one_replica_compiled_the_next_one_has(
    start: Callable[..., Worker], model: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    options = {"eager": False, "compiled_key": "image cpu 1", "compiled_dir": str(volume)}
    first = start(model, new_folder(tmp_path / "a"), **options)
    first.wait_ready()
    assert first.state()["compiled"]["restored"] == ""
    wait_until(lambda: any(volume.glob("*.tar")), 60, "what was compiled is kept")
    (snapshot,) = volume.glob("*.tar")
    first.stop()
    # The same path, as in every pod: what is compiled may hold it.
    shutil.rmtree(tmp_path / "a")
    second = start(model, new_folder(tmp_path / "a"), **options)
    wait_until(lambda: second.get("/livez")[0] == 200, 60, "its engine runs")
    began = time.time()
    second.wait_ready()
    told = second.state()["compiled"]
    assert told["restored"] == snapshot.name
    assert told["files"] > 0
    # Whatever the engine looks at again, it compiles no kernel a second time.
    kernels = list((tmp_path / "a").rglob("*.so"))
    assert kernels
    assert [kernel for kernel in kernels if kernel.stat().st_mtime > began] == []


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path
