"""What the models promise without an API server: amounts, absent fields, the words of refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.quantity import parse_duration, parse_quantity


def spec(**fields: Any) -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate({"model": {"uri": "pvc://models"}, **fields})


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", "0.5"), ("2", "2"), ("1.5Gi", "1610612736"), (".5", "0.5"), ("1k", "1000"),
        ("1Ki", "1024"), ("3n", "0.000000003"), ("1u", "0.000001"), ("2E", "2000000000000000000"),
    ],
)  # fmt: skip
def test_quantities(text: str, amount: str) -> None:
    assert parse_quantity(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "1 Gi", "-1", "1KI", "Gi", "1e3x"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity: write for example"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("1h30m", 5400.0), ("250ms", 0.25), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1d", "1h 30m", "-1s", "s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write for example"):
        parse_duration(text)


def test_absent_fields_have_values_in_python() -> None:
    parsed = spec(scaling={"maxReplicas": 2})
    assert parsed.scaling is not None
    assert parsed.scaling.target.queue_depth == 4
    assert parsed.rollout.max_surge == 1
    assert parsed.frontend.hold_timeout == "10m"
    assert parsed.context.max_model_len is None
    assert parsed.accelerator.per_replica is None
    assert parsed.optimization.objective == "balanced"
    assert parsed.optimization.quantization == parsed.parallelism.expert == "auto"
    assert parsed.optimization.gpu_memory_utilization is None


def test_numbers_are_amounts_too() -> None:
    parsed = spec(template={"resources": {"requests": {"cpu": 2, "memory": "1Gi"}}})
    assert parsed.template.resources.requests == {"cpu": "2", "memory": "1Gi"}


def test_a_refusal_says_what_to_write() -> None:
    with pytest.raises(ValidationError, match="replicas and scaling exclude each other"):
        spec(replicas=1, scaling={"maxReplicas": 2})
    with pytest.raises(ValidationError, match="must be between 10s and 24h: write for example"):
        spec(scaling={"maxReplicas": 2, "scaleToZeroAfter": "1s"})


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().model.uri = "pvc://other"


@pytest.mark.parametrize(
    "parallelism",
    [{"tensor": 3}, {"tensor": 4, "data": 4}, {"tensor": 2, "pipeline": 2, "data": 1}],
)
def test_ranks_that_do_not_make_the_accelerators(parallelism: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="must be parallelism"):
        spec(accelerator={"perReplica": 8}, parallelism=parallelism)


def test_what_is_left_of_the_accelerators_is_planned() -> None:
    parsed = spec(accelerator={"perReplica": 8}, parallelism={"tensor": 2})
    assert parsed.parallelism.given == [2]
