"""What shells and kubectl are told, and that nobody waits long for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stoker.cli import app
from stoker.commands import completing
from stoker.errors import ClusterUnavailable

BIN = Path(sys.executable).parent


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What kubectl is told."""
    for name in (completing.VARIABLE, "COLUMNS", "_TYPER_COMPLETE_ARGS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "")

    def ask(*words: str) -> list[str]:
        return completing.answer_kubectl(app, list(words)).splitlines()

    return ask


def test_kubectl_gets_words_with_their_meaning_and_no_files(
    kubectl: Callable[..., list[str]],
) -> None:
    lines = kubectl("sc")
    assert lines[0].startswith("scale\tSet how many replicas")
    assert lines[-1] == ":4"
    lines = kubectl("wait", "--fo")
    assert len(lines) == 2, "one line for each, however long"
    assert lines[0].startswith("--for\tready: ")
    assert kubectl("logs", "-c", "f") == ["frontend", "follower", "facts", ":4"]
    assert kubectl()[-1] == ":4"


def test_a_shell_gets_words() -> None:
    env = {"COMP_WORDS": "stoker lo", "COMP_CWORD": "1", "_STOKER_COMPLETE": "complete_bash"}
    told = subprocess.run(  # noqa: S603 - our own program
        [str(BIN / "stoker")],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        check=True,
    )
    assert told.stdout.decode().split() == ["logs"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_and_nothing_is_written(shell: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["completion", shell], env={"HOME": str(tmp_path)})
    assert result.exit_code == 0
    assert "_STOKER_COMPLETE" in result.stdout
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_is_slow_or_away_offers_nothing() -> None:
    async def never() -> list[str]:
        await asyncio.sleep(3600)
        return ["late"]

    async def away() -> list[str]:
        raise ClusterUnavailable("no answer")

    async def there() -> list[str]:
        return ["llama"]

    assert completing.within(0.01, never) == []
    assert completing.within(60, away) == []
    assert completing.within(60, there) == ["llama"]
    assert completing.LIMIT_S <= 2


def test_a_kubeconfig_that_is_not_there_offers_nothing(
    kubectl: Callable[..., list[str]], tmp_path: Path
) -> None:
    absent = ("why", "--kubeconfig", str(tmp_path / "absent"))
    assert kubectl(*absent, "") == [":4"]
    assert kubectl(*absent, "--context", "") == [":4"]


def test_contexts_are_offered(kubectl: Callable[..., list[str]], tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: one, users: [{name: u, user: {}}],"
        " clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], contexts: ["
        "{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u}}"
        "]}"
    )
    assert kubectl("why", "--kubeconfig", str(config), "--context", "t") == ["two", ":4"]


def test_the_plugin_is_the_same_program() -> None:
    told = subprocess.run(  # noqa: S603 - our own program
        [str(BIN / "kubectl-stoker"), "why", "--help"], capture_output=True, check=True
    )
    assert b"kubectl stoker why" in told.stdout
    assert (BIN / "kubectl_complete-stoker").exists()
