"""What a plan promised, and what the engine that runs it says of itself.

The engine is asked directly: a node may always ask its own pods, whatever the policies say.
"""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2e.stack import Stack

PREDICTED_WITHIN = 0.05
"""Share of the KV cache by which a plan for a processor may err."""
_STEP = re.compile(r"Iteration\(\d+\): \d+ context requests, (\d+) context tokens")


class Counters:
    """The metrics of a service's only engine at one moment."""

    def __init__(self, stack: Stack, service: str, namespace: str) -> None:
        (pod,) = stack.engine_pods(service, namespace)
        url = f"http://{pod['status']['podIP']}:8000/metrics"
        with urllib.request.urlopen(url, timeout=30) as page:
            self._text = page.read().decode()

    def of(self, name: str) -> float | None:
        """The sum of a metric's samples; None where the engine has no such metric."""
        found = re.findall(rf"^vllm:{name}(?:\{{.*\}})? (\S+)$", self._text, re.MULTILINE)
        return sum(map(float, found)) if found else None

    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds: its blocks, times the tokens of one."""
        line = re.search(r"^vllm:cache_config_info\{.*$", self._text, re.MULTILINE)
        assert line is not None
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line.group()))
        return int(labels["num_gpu_blocks"]) * int(labels["block_size"])


def prompt_pieces(stack: Stack, service: str, namespace: str) -> list[int]:
    """Tokens of prompts in each step that had any, as the only engine logged them."""
    (pod,) = stack.engine_pods(service, namespace)
    log = stack.kubectl("logs", pod["metadata"]["name"], "-n", namespace, "-c", "engine")
    return [tokens for tokens in map(int, _STEP.findall(log)) if tokens]


def status_of(stack: Stack, service: str, namespace: str) -> dict[str, Any]:
    """The status of a service; empty while there is none."""
    found = stack.get("inferenceservices.stoker.dev", service, namespace) or {}
    status: dict[str, Any] = found.get("status", {})
    return status


def technique(stack: Stack, service: str, namespace: str, name: str) -> dict[str, str]:
    """State, reason and why of a technique, as the status has them."""
    told = status_of(stack, service, namespace)["plan"]["techniques"]
    (found,) = [each for each in told if each["name"] == name]
    return {key: found[key] for key in ("state", "reason", "why")}


def check_room(stack: Stack, service: str, namespace: str) -> int:
    """Check that the KV cache holds as many tokens as were planned; return how many those are."""

    def plan() -> dict[str, Any]:
        found: dict[str, Any] = status_of(stack, service, namespace)["plan"]
        return found

    stack.wait_for(lambda: "residual" in plan(), f"the engine's report to {service}", 60)
    planned, told = plan()["kvCacheTokens"], plan()["residual"]
    reported = Counters(stack, service, namespace).kv_tokens()
    assert told == {"kvTokensPredicted": planned, "kvTokensReported": reported}
    assert abs(planned - reported) <= PREDICTED_WITHIN * reported, told
    return reported
