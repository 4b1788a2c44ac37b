"""The engine's process, with small real programs in its place."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.cli import main
from stoker_worker.contract import (
    ENV_CONFIG,
    SERVE_COMMAND,
    Termination,
    TerminationReason,
    WorkerConfig,
)
from stoker_worker.install import install
from stoker_worker.process import LINE_BYTES, EngineProcess, Pump, Ring, oom_kills


def wait_for(engine: EngineProcess) -> int:
    deadline = time.monotonic() + 20
    while (code := engine.reap()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return code


def python(code: str) -> EngineProcess:
    return EngineProcess([sys.executable, "-c", code], os.environ)


def test_output_passes_through_unchanged_and_its_end_is_kept(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = python("import sys; print('a\\x1b[1m\\u2192'); sys.stderr.write('no newline')")
    assert wait_for(engine) == 0
    assert sorted(engine.last_words(5)) == ["a\x1b[1m→", "no newline"]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("a\x1b[1m→\n", "no newline")


def test_memory_for_the_log_is_bounded() -> None:
    ring = Ring(lines=2)
    ring.add([b"a", b"b", b"c" * 10 * LINE_BYTES])
    assert ring.text() == ["b", "c" * LINE_BYTES]
    reading, writing = os.pipe()
    pump = Pump(reading, os.open(os.devnull, os.O_WRONLY), ring)
    pump.start()
    for _ in range(64):
        os.write(writing, b"x" * 65536)
    os.close(writing)
    pump.join(10)
    assert len(ring.text()[-1]) == LINE_BYTES


def test_a_reader_that_is_gone_does_not_block_the_engine() -> None:
    reading, writing = os.pipe()
    closed, sink = os.pipe()
    os.close(closed)
    ring = Ring()
    pump = Pump(reading, sink, ring)
    pump.start()
    os.write(writing, b"one\ntwo\n")
    os.close(writing)
    pump.join(10)
    assert ring.text() == ["one", "two"]


def test_kill_reaches_what_left_the_process_group() -> None:
    engine = python(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'], preexec_fn=os.setpgrp)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    while not engine.ring.text():
        time.sleep(0.02)
    child = int(engine.ring.text()[0])
    engine.kill()
    assert wait_for(engine) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while _state(child) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _state(pid: int) -> str:
    """Z: dead, also where nobody has reaped it yet or somebody has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "Z"
    return stat.rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("oom_kill many\n", None),
    ],
)
def test_the_kernels_count_is_read_from_both_cgroup_versions(
    tmp_path: Path, text: str, expected: Any
) -> None:
    (tmp_path / "events").write_text(text)
    assert oom_kills([tmp_path / "nosuch", tmp_path / "events"]) == expected


def test_install_writes_one_file_that_any_user_can_run(tmp_path: Path) -> None:
    app = install(tmp_path)
    first = app.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == [SERVE_COMMAND[3].rpartition("/")[2]]
    assert app.stat().st_mode & 0o777 == 0o644
    assert install(tmp_path).read_bytes() == first, "equal content, equal bytes"
    with zipfile.ZipFile(app) as archive:
        names = archive.namelist()
        assert "stoker_worker/contract.py" in names
        # The fetcher is another program, with libraries that an engine's image lacks.
        assert not [name for name in names if "fetch" in name]


def test_install_says_where_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", str(tmp_path / "nosuch")]) == 1
    assert "nosuch" in capsys.readouterr().err


def test_usage_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "install" in capsys.readouterr().err


def serve(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run the installed file as the container does, with nothing in the environment but ours."""
    app = install(tmp_path)
    return subprocess.run(  # noqa: S603 - the command is ours
        [sys.executable, *SERVE_COMMAND[1:3], str(app), "serve"],
        env={ENV_CONFIG: text, "PYTHONPATH": str(tmp_path / "poison")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_installed_worker_refuses_a_bad_config_in_one_line(tmp_path: Path) -> None:
    # A module of the engine that shadows one of Python's must not reach the worker.
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "json.py").write_text("raise SystemExit('poisoned')")
    done = serve(tmp_path, '{"engine":"nosuch","model_path":"/m","served_names":["a"]}')
    assert done.returncode == 1
    assert done.stderr.startswith(f"stoker-worker: {TerminationReason.CONFIG_INVALID}: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_model_ends_before_an_engine_starts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    done = serve(
        tmp_path,
        '{"engine":"vllm","model_path":"/nosuch/model","served_names":["a"],'
        f'"termination_log":"{log}"}}',
    )
    assert done.returncode == 1
    said = Termination.parse(log.read_text())
    assert said.reason == TerminationReason.MODEL_NOT_FOUND
    assert "/nosuch/model" in said.message


@pytest.mark.parametrize("allowed", [False, True])
def test_pickles_end_it_before_an_engine_starts(tmp_path: Path, *, allowed: bool) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").touch()
    config = WorkerConfig(
        "vllm",
        str(tmp_path),
        ["a"],
        engine_command=["/nosuch/vllm"],
        termination_log=str(tmp_path / "log"),
        allow_pickle=allowed,
    )
    (tmp_path / "log").touch()
    assert serve(tmp_path, config.to_json()).returncode == 1
    said = Termination.parse((tmp_path / "log").read_text())
    word = TerminationReason.ENGINE_CRASHED if allowed else TerminationReason.PICKLE_WEIGHTS
    assert said.reason == word


def test_an_image_without_the_engine_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = serve(
        tmp_path,
        f'{{"engine":"vllm","model_path":"{tmp_path}","served_names":["a"],'
        '"engine_command":["/nosuch/vllm"]}',
    )
    assert done.returncode == 1
    assert "/nosuch/vllm" in done.stderr
