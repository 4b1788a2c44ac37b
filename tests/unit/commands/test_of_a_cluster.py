"""`stoker plan --of` and `--accept`, as far as they get without a cluster."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands import present, running
from stoker.commands.exits import Exit
from stoker.commands.running import CommandError
from stoker.model.observed import Key

KEY = Key("chat", "llama")
OFFER = {"id": "0f0f0f0f", "summary": "one [a100]", "saves": "$1 instead of $2 per hour"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], env={"COLUMNS": "200"})


def body(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "llama"}, "spec": {}, "status": status}


def condition(status: str, message: str) -> list[dict[str, str]]:
    return [{"type": "Planned", "status": status, "reason": "Word", "message": message}]


def shown(found: dict[str, Any]) -> str:
    out = io.StringIO()
    present.show(Console(file=out, width=200), found, KEY)
    return out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "pass one of: FILE"),
        (["a.yaml", "--of", "llama"], "pass one of: FILE"),
        (["--of", "llama", "--accept", "llama"], "pass one of: FILE"),
        (["a.yaml", "-n", "chat"], "go with --of or --accept"),
        (["a.yaml", "--context", "there"], "go with --of or --accept"),
        (["--of", "llama", "--gpu", "nvidia-l4"], "go with FILE"),
        (["--accept", "llama", "--what-if", "replicas=1"], "go with FILE"),
        (["--accept", "llama", "--ladder"], "go with FILE"),
        (["--accept", "llama", "--plugin", "fastsafetensors"], "go with FILE"),
        (["--accept", ""], "is no name"),
        (["--of", "../pods/a"], "is no name"),
        (["--of", "llama", "-n", "a/b"], "is no name"),
    ],
)
def test_options_that_do_not_fit_together(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == Exit.BAD_INPUT
    assert said in result.stderr


_CONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: a, user: u}}]
current-context: x
"""


@pytest.mark.parametrize(
    "text", ["", "3", "- 1", "a: [", "kind: Config", _CONFIG.replace("cluster: a", "cluster: b")]
)
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    for kubeconfig in (path, tmp_path / "absent"):
        result = run("--of", "llama", "--kubeconfig", kubeconfig)
        assert result.exit_code == Exit.BAD_INPUT, result.output
        assert f"{kubeconfig} names no usable cluster" in result.stderr


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(_CONFIG)
    result = run("--of", "llama", "--kubeconfig", path, "--context", "y")
    assert result.exit_code == Exit.BAD_INPUT
    assert "y" in result.stderr


def test_what_is_known_is_shown_and_what_is_not_left_out() -> None:
    plan = {
        "summary": "vllm on 1 x nvidia-l4",
        "accelerator": "nvidia-l4",
        "kvCacheTokens": 54321,
        "expected": {"itl": {"low": "20ms", "typical": "25ms", "high": "31ms"}},
        "techniques": [{"name": "kvCacheDtype", "state": "on", "why": "[half] the bytes"}],
        "alternatives": [{"change": "accelerator.types: [cpu]", "concurrency": 3}],
        "residual": {"kvTokensPredicted": 54321, "kvTokensReported": 54000},
        "offer": OFFER,
        "proposals": [{"change": "parallelism.tensor: 2", "gain": "+40 %", "why": "[full] cache"}],
        "ofALaterVersion": {},
    }
    text = shown(body(plan=plan, conditions=condition("True", "It runs.")))
    for words in (
        "Planned chat/llama: It runs.",
        "25ms (20ms to 31ms)",
        "54,321",
        "54,000 tokens",
        "[half] the bytes",  # brackets are text, not markup
        "accelerator.types: [cpu]",
        "one [a100]: $1 instead of $2 per hour",
        "stoker plan --accept llama -n chat",
        "write the field to have it",
        "parallelism.tensor: 2",
        "[full] cache",
    ):
        assert words in text
    assert "None" not in text


def test_an_old_plan_beside_a_spec_that_is_not_planned() -> None:
    refused = body(plan={"summary": "what runs"}, conditions=condition("False", "2 GiB missing"))
    text = shown(refused)
    assert "Not planned chat/llama: 2 GiB missing" in text
    assert text.index("planned before") < text.index("what runs")
    assert present.as_data(refused, KEY)["planned"] is False
    assert "Not planned yet" in shown(body(conditions=condition("Unknown", "It is being read.")))
    assert "has not looked" in shown({"metadata": {}, "spec": {}})


@pytest.mark.parametrize(
    "found",
    [
        body(),
        body(plan={"summary": "a"}),
        body(plan={"summary": "a", "offer": {}}),
        body(plan="nonsense"),
        body(plan={"offer": OFFER}) | {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_nothing_is_offered(found: dict[str, Any]) -> None:
    with pytest.raises(CommandError) as error:
        running.offer_of(found, KEY)
    assert error.value.exit is Exit.NO_OFFER
    assert "BetterPlanAvailable" in str(error.value)


def test_a_rollout_is_told_as_it_will_be() -> None:
    found = body(plan={"summary": "now", "offer": OFFER})
    for strategy, words in (("rolling", "before old ones drain"), ("recreate", "drain first")):
        found["spec"] = {"rollout": {"strategy": strategy}}
        out = io.StringIO()
        present.show_offer(Console(file=out, width=200), running.offer_of(found, KEY))
        assert words in out.getvalue()
