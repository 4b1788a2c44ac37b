"""Techniques that a plan turns on, seen in what real engines do: their answers, counters and logs.

Two services of one model, one with everything on and one with everything off, show each technique
by its absence, too. What changes no answer is compared with the plain service of the other modules.
"""

from __future__ import annotations

import gzip
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.models import PROMPTS, TINY
from e2e.plans import Counters, check_room, prompt_pieces, status_of, technique
from e2e.stack import Stack, example, is_ready
from e2e.test_10_answers import call
from e2e.test_88_cli import Commands
from stoker.commands.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "demo"
PLAIN = "tiny"
WITH, WITHOUT = "with-techniques", "without-techniques"
STEP = 256
"""Tokens of a step, where prompts are cut."""
START_SECONDS = 300
WORDS = " ".join(TINY.paragraphs()).split()


@pytest.fixture(scope="module")
def both(stack: Stack, fixed: str) -> Iterator[dict[str, str]]:
    """Addresses of the two services, which start side by side, and of the plain one."""
    stack.apply([
        service(WITH, {
            "speculative": {"method": "ngram", "tokens": 4},
            "kvCache": {"dtype": "none"},
            "prefixCaching": "on",
            "batching": {"maxNumSeqs": 4, "maxNumBatchedTokens": STEP, "chunkedPrefill": "on"},
        }),
        service(WITHOUT, {
            "speculative": {"method": "none"},
            "kvCache": {"dtype": "fp8"},
            "prefixCaching": "off",
            "batching": {"maxNumSeqs": 4, "maxNumBatchedTokens": 4096, "chunkedPrefill": "off"},
        }),
    ])  # fmt: skip
    for name in (WITH, WITHOUT):
        stack.wait_ready_engines(name, NAMESPACE, 1, seconds=START_SECONDS)
        stack.wait_condition(name, NAMESPACE, "Ready", status="True")
    yield {PLAIN: fixed} | {name: stack.address(name, NAMESPACE) for name in (WITH, WITHOUT)}
    stack.kubectl("delete", "infer", WITH, WITHOUT, "-n", NAMESPACE, "--wait=false")


def service(name: str, optimization: dict[str, Any]) -> dict[str, Any]:
    engine = {"args": {"enable-logging-iteration-details": "true"}, "profiling": True}
    return example(
        name, NAMESPACE, scaling=None, replicas=1, engine=engine, optimization=optimization
    )


def complete(url: str, model: str, prompt: str, tokens: int) -> tuple[str, int]:
    """The greedy answer, and how many tokens the prompt had."""
    body = {
        "model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0,
        "ignore_eos": True,
    }  # fmt: skip
    status, _, answer = call(url, "/completions", body)
    assert status == 200, answer
    return answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]


def said(stack: Stack, name: str, what: str) -> tuple[str, str]:
    found = technique(stack, name, NAMESPACE, what)
    return found["state"], found["reason"]


def counted(stack: Stack, name: str, *metrics: str) -> list[float | None]:
    counters = Counters(stack, name, NAMESPACE)
    return [counters.of(metric) for metric in metrics]


def repeating(prompt: str) -> str:
    """A paragraph, and its beginning again: what follows stands in the prompt already."""
    (whole,) = [each for each in TINY.paragraphs() if each.startswith(prompt)]
    return f"{whole} {prompt}"


@pytest.mark.timeout(START_SECONDS + 180)
def test_drafts_are_checked_and_change_no_answer(stack: Stack, both: dict[str, str]) -> None:
    metrics = ("spec_decode_num_draft_tokens_total", "spec_decode_num_accepted_tokens_total")
    assert said(stack, WITH, "speculativeDecoding") == ("on", "AsAsked")
    assert said(stack, WITHOUT, "speculativeDecoding") == ("off", "AsAsked")
    before = counted(stack, WITH, *metrics)
    for prompt in PROMPTS:
        text = repeating(prompt.text)
        (found, _), (plain, _) = (complete(both[each], each, text, 24) for each in (WITH, PLAIN))
        assert found == plain
        assert found.strip().startswith(prompt.continuation)
    after = counted(stack, WITH, *metrics)
    drafted, accepted = ((now or 0) - (then or 0) for now, then in zip(after, before, strict=True))
    assert 0 < accepted <= drafted
    assert counted(stack, WITHOUT, *metrics) == [None, None]


def test_an_fp8_cache_holds_twice_the_tokens_and_the_plan_knew(
    stack: Stack, both: dict[str, str]
) -> None:
    tokens = {name: check_room(stack, name, NAMESPACE) for name in (WITH, WITHOUT)}
    assert tokens[WITHOUT] == pytest.approx(2 * tokens[WITH], rel=0.02)
    assert said(stack, WITHOUT, "kvCacheDtype") == ("on", "AsAsked")
    assert not stack.condition(WITHOUT, NAMESPACE, "KvDtypeNotHonoured")
    prompt = PROMPTS[0]
    answer, _ = complete(both[WITHOUT], WITHOUT, prompt.text, 12)
    assert prompt.continuation.split()[0] in answer


def test_a_common_beginning_is_computed_once(stack: Stack, both: dict[str, str]) -> None:
    metrics = ("prefix_cache_hits_total", "prefix_cache_queries_total")
    prompt = " ".join(["One beginning for two.", *WORDS[:400]])
    assert said(stack, WITH, "prefixCaching") == ("on", "AsAsked")
    seen = [counted(stack, WITH, *metrics)]
    answers = []
    for end in ("first", "second"):
        answers.append(complete(both[WITH], WITH, f"{prompt} {end}", 1))
        seen.append(counted(stack, WITH, *metrics))
    hits, queries = ([value or 0 for value in each] for each in zip(*seen, strict=True))
    assert hits[1] == hits[0], "nobody had asked for this before"
    _, length = answers[1]
    assert queries[2] - queries[1] == length
    assert length - 2 * 128 < hits[2] - hits[1] < length, "all but the last block, or two"
    assert said(stack, WITHOUT, "prefixCaching") == ("off", "AsAsked")
    for _ in range(2):
        complete(both[WITHOUT], WITHOUT, prompt, 1)
    assert counted(stack, WITHOUT, *metrics) == [0, 0]


def pieces_of(stack: Stack, url: str, name: str, prompt: str) -> list[int]:
    """Tokens of the prompt in each step that had any."""
    before = len(prompt_pieces(stack, name, NAMESPACE))
    _, length = complete(url, name, prompt, 1)
    assert length > 5 * STEP

    def pieces() -> list[int]:
        return prompt_pieces(stack, name, NAMESPACE)[before:]

    stack.wait_for(lambda: sum(pieces()) >= length, f"{name} to log its steps", 20)
    assert sum(pieces()) == length
    return pieces()


def test_a_long_prompt_goes_in_pieces(stack: Stack, both: dict[str, str]) -> None:
    """No counter shows it: the engine counts a prompt when the last piece is through."""
    prompt = " ".join(["In pieces.", *WORDS[:900]])
    pieces = {name: pieces_of(stack, both[name], name, prompt) for name in (WITH, WITHOUT)}
    assert max(pieces[WITH]) <= STEP
    assert len(pieces[WITH]) > 5
    assert len(pieces[WITHOUT]) == 1
    assert said(stack, WITH, "chunkedPrefill") == ("on", "AsAsked")
    assert said(stack, WITHOUT, "chunkedPrefill") == ("off", "AsAsked")


@pytest.mark.timeout(120)
def test_a_step_that_holds_no_request_is_refused_before_any_pod(stack: Stack, fixed: str) -> None:
    del fixed
    name = "too-small"
    batching = {"maxNumSeqs": 4, "maxNumBatchedTokens": STEP, "chunkedPrefill": "off"}
    stack.apply(service(name, {"batching": batching}))
    found = stack.wait_condition(name, NAMESPACE, "Planned", status="False", seconds=60)
    assert found["reason"] == "BatchTooSmall"
    assert "maxNumBatchedTokens" in found["message"]
    assert not stack.engine_pods(name, NAMESPACE)
    assert "configuration" not in status_of(stack, name, NAMESPACE).get("plan", {})
    stack.kubectl("delete", "infer", name, "-n", NAMESPACE, "--wait=false")


@pytest.mark.timeout(START_SECONDS + 600)
def test_a_replica_is_profiled_out_of_rotation_and_comes_back(
    stack: Stack, both: dict[str, str], tmp_path: Path
) -> None:
    commands = Commands(stack)
    (pod,) = stack.engine_pods(WITHOUT, NAMESPACE)
    name, worker = pod["metadata"]["name"], f"http://{pod['status']['podIP']}:8001"

    def is_at(stage: str) -> bool:
        return worker_state(worker).get("profile") == stage

    def is_back() -> bool:
        (now,) = stack.engine_pods(WITHOUT, NAMESPACE)
        return is_ready(now) and "profile" not in worker_state(worker)

    root = both[WITHOUT].removesuffix("/v1")
    for path in ("/start_profile", "/profile/00000000/begin/5"):
        assert call(root, path, {})[0] == 404, "no client reaches a profiler"
    assert call(worker, "/profile/00000000/begin/5", {})[0] == 403, (
        "nor does anybody of the network"
    )
    only = commands.run("profile", WITHOUT, good=Exit.REFUSED)
    assert "--hold-requests" in only.stderr

    # A command that dies while it records takes no replica with it.
    words = ("profile", WITHOUT, "--hold-requests", "--into", str(tmp_path), "-o", "json")
    dying = commands.begin(*words, "--requests", "1", "--output-tokens", "2000")
    try:
        stack.wait_for(lambda: is_at("Recording"), "the replica records", 240)
        assert not is_ready(stack.engine_pods(WITHOUT, NAMESPACE)[0])
    finally:
        dying.kill()
        dying.wait()
    stack.wait_for(is_back, "the replica comes back", 240)
    assert not list(tmp_path.iterdir())

    with ThreadPoolExecutor() as pool:
        told = pool.submit(commands.run, *words, "--output-tokens", "16")
        stack.wait_for(lambda: is_at("Recording"), "the replica records", 240)
        held = pool.submit(complete, both[WITHOUT], WITHOUT, PROMPTS[0].text, 4)
        found = json.loads(told.result().stdout)
        assert held.result()[0], "what came meanwhile was held, and is answered"
    assert found["pod"] == name
    assert any("attention" in each["name"] for each in found["operators"])
    weights = [each["selfSeconds"] for each in found["operators"]]
    assert weights == sorted(weights, reverse=True)
    (trace,) = found["traces"]
    assert json.loads(gzip.decompress(Path(trace).read_bytes()))["traceEvents"]
    (after,) = stack.engine_pods(WITHOUT, NAMESPACE)
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert [each["restartCount"] for each in after["status"]["containerStatuses"]] == [0]


def worker_state(worker: str) -> dict[str, Any]:
    """What the worker says of itself: a node may always ask its own pods."""
    with urllib.request.urlopen(f"{worker}/state", timeout=30) as page:  # noqa: S310
        state: dict[str, Any] = json.loads(page.read())
    return state
