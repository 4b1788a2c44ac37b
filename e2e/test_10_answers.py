"""From `kubectl apply` to a streamed answer: the README's example, word for word.

The services of the modules that follow are this one: an engine start is the dearest thing here.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from e2e.models import PROMPTS
from e2e.stack import Stack

NAMESPACE = "demo"
NAME = "tiny"


def call(url: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any], Any]:
    """One HTTP request: status, headers, JSON (or text) of the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        url + path, data=data, headers={"content-type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            status, found, text = answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        status, found, text = error.code, dict(error.headers), error.read().decode()
    try:
        return status, found, json.loads(text)
    except ValueError:
        return status, found, text


@pytest.fixture(scope="module")
def client(tiny: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=tiny, api_key="none", max_retries=0, timeout=120)


@pytest.mark.timeout(300)
def test_example_becomes_ready_and_says_so(stack: Stack, tiny: str) -> None:
    assert tiny.endswith("/v1")
    found = stack.get("inferenceservices.stoker.dev", NAME, NAMESPACE)
    assert found is not None
    status = found["status"]
    assert status["readyReplicas"] == 1
    assert status["address"] == f"http://{NAME}.{NAMESPACE}.svc.cluster.local/v1"
    columns = stack.kubectl("get", "infer", "-n", NAMESPACE).splitlines()
    assert columns[0].split() == [
        "NAME", "READY", "REPLICAS", "DESIRED", "QUEUE", "MODEL", "REASON", "AGE",
    ]  # fmt: skip
    assert columns[1].split()[:4] == [NAME, "True", "1", "1"]


def test_unary_answer_is_the_models_own(client: openai.OpenAI) -> None:
    prompt, expected = PROMPTS[0]
    answer = client.completions.create(model=NAME, prompt=prompt, max_tokens=12, temperature=0)
    assert expected.split()[0] in answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_stream_arrives_in_pieces_and_ends_with_done(client: openai.OpenAI) -> None:
    pieces = list(
        client.chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": "Say what the licence grants."}],
            max_tokens=24,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
    )
    assert len(pieces) > 10, "a stream that comes in one piece is buffered somewhere"
    assert pieces[-1].choices[0].finish_reason == "length"


def test_models_are_listed_by_the_frontend(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]


def test_embeddings_reach_the_engine(tiny: str) -> None:
    """A generating model has no embeddings: vLLM itself says so, the frontend lets the path by."""
    status, _, body = call(tiny, "/embeddings", {"model": NAME, "input": "furnace"})
    assert status in {400, 404}
    assert "path" not in json.dumps(body).lower() or "embedding" in json.dumps(body).lower()


@pytest.mark.parametrize(
    "path", ["/../tokenize", "/load_lora_adapter", "/../metrics", "/../pause", "/../invocations"]
)
def test_only_the_api_gets_through(tiny: str, path: str) -> None:
    status, _, body = call(tiny.removesuffix("/v1"), "/v1" + path, {"model": NAME})
    assert status == 404
    assert body["error"]["type"] == "invalid_request_error"


def test_unknown_model_is_an_openai_shaped_404(tiny: str) -> None:
    status, _, body = call(tiny, "/completions", {"model": "nobody", "prompt": "x"})
    assert status == 404
    assert "nobody" in body["error"]["message"] or "model" in body["error"]["message"]


def test_client_cannot_aim_the_frontend(tiny: str) -> None:
    """The header by which the picker names a pod is stripped from what clients send."""
    status, _, body = call(
        tiny,
        "/completions",
        {"model": NAME, "prompt": "The", "max_tokens": 2},
        **{"x-gateway-destination-endpoint": "127.0.0.1:9901"},
    )
    assert status == 200, body
    assert body["usage"]["completion_tokens"] >= 1


def test_pods_meet_the_restricted_standard(stack: Stack, tiny: str) -> None:
    del tiny
    labels = (stack.get("namespace", NAMESPACE, NAMESPACE) or {})["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert stack.engine_pods(NAME, NAMESPACE)
    assert stack.frontend_pods(NAME, NAMESPACE)
