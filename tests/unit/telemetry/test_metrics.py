"""What /metrics tells, in which format, and that it tells no more than there is."""

from __future__ import annotations

import asyncio
import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from stoker.clock import SystemClock
from stoker.model.figures import ServiceFigures
from stoker.model.observed import Key
from stoker.telemetry import families, reference
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.costmetrics import CostMetrics
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.servicemetrics import ServiceMetrics
from tests.unit.cost.worlds import PLATFORM

OPEN = "application/openmetrics-text;version=1.0.0"
REPOSITORY = Path(__file__).parents[3]
KEY = Key("chat", "llama")
PLACE = {"namespace": "chat", "service": "llama"}
# A service as most are most of the time: planned, measured, scaled, well.
HEALTHY = ServiceFigures(
    key=KEY,
    model="llama-3.1-8b-instruct",
    accelerator="nvidia-h100-80gb",
    engine="vllm",
    objective="balanced",
    replicas={"desired": 2, "ready": 2, "pending": 0},
    limits={"min": 1, "max": 8},
    accelerators=1,
    flops=989e12,
    bandwidth=3.35e12,
    startup={"node": 95.0, "image": 41.0, "load": 63.5},
    residuals={"kv_tokens": 1.02, "ttft": 0.94, "itl": 1.07},
)
# The same with everything that may be told.
TROUBLED = replace(
    HEALTHY,
    replicas={"desired": 4, "ready": 2, "pending": 2},
    conditions=(("Ready", "WaitingForPods"), ("Schedulable", "NoNodeForAccelerator")),
    targets={"ttft": 0.8, "itl": 0.04},
    shares={"ttft": 0.9},
    has_budget=True,
    waiting_since=1000.0,
    deadline_s=300.0,
)


def values(metrics: ServiceMetrics) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels after namespace and service."""
    return {
        (family.shown, *labels[2:]): value
        for family, samples in metrics.families()
        for labels, value in samples
    }


def own_lines(metrics: Metrics) -> list[bytes]:
    """Without what the process itself tells, which changes with each look."""
    return [line for line in metrics.expose().splitlines() if b"process_" not in line]


def test_all_that_is_known_of_a_service_is_told() -> None:
    metrics = ServiceMetrics()
    metrics.decided(KEY, "LoadGrew", 2, 4)
    metrics.decided(KEY, "LoadGrew", 4, 6)
    metrics.decided(KEY, "WithinBudget", 6, 4)
    metrics.replaced(KEY, "hung")
    metrics.limited(KEY, by_budget=True)
    metrics.show([TROUBLED], now=1060.0)
    assert values(metrics) == {
        ("stoker_service_info", "llama-3.1-8b-instruct", "nvidia-h100-80gb", "vllm", "balanced"): 1,
        ("stoker_service_replicas", "desired"): 4,
        ("stoker_service_replicas", "ready"): 2,
        ("stoker_service_replicas", "pending"): 2,
        ("stoker_service_replicas_limit", "min"): 1,
        ("stoker_service_replicas_limit", "max"): 8,
        ("stoker_service_condition", "Ready", "WaitingForPods"): 1,
        ("stoker_service_condition", "Schedulable", "NoNodeForAccelerator"): 1,
        ("stoker_service_target_seconds", "ttft"): 0.8,
        ("stoker_service_target_seconds", "itl"): 0.04,
        ("stoker_service_target_ratio", "ttft"): 0.9,
        ("stoker_service_accelerators",): 1,
        ("stoker_service_accelerator_flops",): 989e12,
        ("stoker_service_accelerator_bytes_per_second",): 3.35e12,
        ("stoker_service_startup_seconds", "node"): 95.0,
        ("stoker_service_startup_seconds", "image"): 41.0,
        ("stoker_service_startup_seconds", "load"): 63.5,
        ("stoker_service_pending_seconds",): 60.0,
        ("stoker_service_startup_deadline_seconds",): 300.0,
        ("stoker_plan_residual_ratio", "kv_tokens"): 1.02,
        ("stoker_plan_residual_ratio", "ttft"): 0.94,
        ("stoker_plan_residual_ratio", "itl"): 1.07,
        ("stoker_budget_reached",): 1,
        ("stoker_scaling_decisions_total", "LoadGrew", "up"): 2,
        ("stoker_scaling_decisions_total", "WithinBudget", "down"): 1,
        ("stoker_engine_replacements_total", "hung"): 1,
    }


def test_nothing_is_told_of_what_is_not_known() -> None:
    metrics = ServiceMetrics()
    bare = ServiceFigures(KEY, "", "cpu", "vllm", "balanced", replicas={}, limits={"min": 1})
    metrics.show([bare], now=0.0)
    assert set(values(metrics)) == {
        ("stoker_service_info", "", "cpu", "vllm", "balanced"),
        ("stoker_service_replicas_limit", "min"),
    }


def test_a_service_that_is_gone_leaves_no_series() -> None:
    metrics = Metrics()
    other = replace(HEALTHY, key=Key("chat", "other"))
    for key in (KEY, other.key):
        metrics.services.decided(key, "LoadGrew", 1, 2)
        metrics.services.replaced(key, "crashed")
        metrics.services.limited(key, by_budget=True)
    metrics.services.show([TROUBLED, other], now=2000.0)
    assert b'service="llama"' in metrics.expose()
    metrics.services.forget(KEY)
    metrics.services.show([other], now=2000.0)
    assert b'llama"' not in metrics.expose()
    assert b'service="other"' in metrics.expose()
    # Nobody said that this one is gone; it is not there any more all the same.
    metrics.services.show([], now=2000.0)
    text = metrics.expose()
    assert b"service=" not in text
    metrics.services.show([other], now=2000.0)
    assert b"stoker_scaling_decisions_total{" not in metrics.expose(), "a new one counts anew"


def test_a_thousand_services_fit_and_leave_nothing() -> None:
    metrics = Metrics()
    before = own_lines(metrics)
    keys = [Key(f"team-{n % 40}", f"assistant-{n:04}") for n in range(1000)]
    metrics.services.show([replace(HEALTHY, key=key) for key in keys], now=0.0)
    page = asyncio.run(metrics.page(accept_encoding="gzip"))
    text = gzip.decompress(page.body)
    assert sum(line.startswith(b"stoker_service_info{") for line in text.splitlines()) == 1000
    assert len(page.body) <= 200_000  # as Prometheus asks for it
    assert len(text) <= 1_600_000  # of which nothing is said twice
    metrics.services.show([], now=0.0)
    assert own_lines(metrics) == before


def test_the_format_is_what_was_asked_for() -> None:
    metrics = Metrics()
    metrics.observe_pass("InferenceService", "ok", 0.02, key=KEY, number=7)
    metrics.services.show([TROUBLED], now=2000.0)
    plain = asyncio.run(metrics.page())
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "Content-Encoding" not in plain.headers
    assert list(plain_families(plain.body.decode()))
    page = asyncio.run(metrics.page(OPEN, "gzip, deflate"))
    assert page.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.headers["Content-Encoding"] == "gzip"
    samples = [
        sample
        for family in open_families(gzip.decompress(page.body).decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
    ]
    found = [sample.exemplar for sample in samples if sample.exemplar]
    assert [each.labels for each in found] == [{"object": "chat/llama", "pass_id": "7"}]


def test_both_formats_tell_what_is_known_and_any_text_passes() -> None:
    metrics = Metrics()
    odd = replace(TROUBLED, key=Key("chat", "odd"), model='a "b\\c\nd', flops=float("inf"))
    metrics.services.decided(odd.key, "LoadGrew", 1, 2)
    metrics.services.show([HEALTHY, odd], now=2000.0)
    wanted = {
        (family.shown, *labels): value
        for family, samples in metrics.services.families()
        for labels, value in samples
    }
    for accept, families_of in (("", plain_families), (OPEN, open_families)):
        text = asyncio.run(metrics.page(accept)).body.decode()
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in families_of(text)
            for sample in family.samples
            if "namespace" in sample.labels
        }
        assert found == wanted
        # What is written once is written anew when the object is another one.
        metrics.services.show([replace(HEALTHY, model="other"), odd], now=2000.0)
        assert b'model="other"' in metrics.expose()
        metrics.services.show([HEALTHY, odd], now=2000.0)


def test_the_longest_names_make_a_valid_exemplar() -> None:
    metrics = Metrics()
    longest = Key("n" * 63, "s" * 40)
    metrics.observe_pass("ModelCache", "ok", 0.02, key=longest, number=10**10)
    page = asyncio.run(metrics.page("application/openmetrics-text"))
    assert b"# {object=" in page.body


def test_every_metric_is_in_the_table_and_the_table_in_the_reference() -> None:
    metrics = Metrics()
    CacheMetrics(metrics.registry)
    CostMetrics(metrics.registry, SystemClock(), PLATFORM)
    told = {family.name for family in metrics.registry.collect()}
    told |= {family.name for family, _ in metrics.services.families()}
    assert {name for name in told if not name.startswith("process_")} == {
        family.name for family in families.FAMILIES
    }
    page = (REPOSITORY / reference.PATH).read_text(encoding="utf-8")
    assert page == reference.reference(), f"{reference.PATH} is old: run `make generate`"


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_names_and_words_are_as_prometheus_wants_them(family: families.Family) -> None:
    assert re.fullmatch(r"stoker(_[a-z0-9]+)+", family.name)
    assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mib|percent)(_|$)", family.name)
    assert family.help.endswith(".")
    assert not set(family.help) & set('"\\\n')  # would have to be escaped
    assert len(family.help) > 20
    assert (family.type == "histogram") == bool(family.buckets)
