"""What engines and their versions call a number, and what the worker passes on of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.catalog.load import builtin_engines
from stoker.telemetry import dialects
from stoker.telemetry.parse import MetricAbsentError, SampleError, engine_sample
from stoker.telemetry.timings import timings_of
from stoker_worker.contract import ENV_POD_NAME, ENV_POD_UID
from stoker_worker.engines.vllm import Vllm
from stoker_worker.loadpage import Identity, Lines, render

RECORDED = (Path(__file__).parents[1] / "worker" / "data" / "metrics.txt").read_text()
BUSY = RECORDED.replace("_count{engine", '_count{engine="0",x').replace("} 0.0", "} 7.0")
# As 0.11 writes it: the old name of the cache, and both names of the time between tokens.
OLD = RECORDED.replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc").replace(
    "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
)
BOTH = OLD + "".join(
    f"{line}\n"
    for line in RECORDED.splitlines()
    if line.startswith(("vllm:kv_cache_usage", "vllm:inter_token_latency"))
)
IDENTITY = Identity.of({ENV_POD_NAME: "pod", ENV_POD_UID: "uid-1"}, "vllm", 1_790_000_000.0)


def page(text: str, identity: Identity = IDENTITY, age: float = 0.0) -> str:
    lines = Lines(Vllm().load_lines(text.encode()), 100.0 - age)
    return render(identity, "0.32.0", lines, 100.0)


@pytest.mark.parametrize("text", [RECORDED, BUSY, OLD, BOTH])
def test_the_workers_page_says_the_same_as_the_engines(text: str) -> None:
    whole, small = engine_sample("pod", text, "uid-1"), engine_sample("pod", page(text), "uid-1")
    assert small.timings is not None
    assert small.timings == whole.timings == timings_of(text)
    assert (small.running, small.waiting, small.kv_cache, small.kv_tokens) == (
        whole.running,
        whole.waiting,
        whole.kv_cache,
        whole.kv_tokens,
    )
    assert small.kv_cache is not None
    assert (small.started, whole.started) == (1_790_000_000.0, None)
    assert len(page(text)) < len(text) / 3


def test_every_name_that_is_read_is_passed_on() -> None:
    spelt = [each for series in dialects.SERIES for each in series.spellings]
    names = {each.metric for each in spelt if each.engine == "vllm"}
    for name in sorted(names | {dialects.CACHE_CONFIG}):
        line = f'{name}{{engine="0"}} 3.0\n'
        assert Vllm().load_lines(line.encode()) == line.encode()


def test_two_names_of_one_number_are_not_added_up() -> None:
    both = BOTH.replace("cache_usage_perc{", 'cache_usage_perc{x="1",')
    assert engine_sample("pod", both).kv_cache == engine_sample("pod", RECORDED).kv_cache


def test_buckets_of_the_two_times_are_passed_on() -> None:
    names = ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency")
    told = [
        f'vllm:{name}_{kind}{{engine="0",le="0.1"}} 4.0\n'
        for name in names
        for kind in ("bucket", "created")
    ]
    text = page(RECORDED + "".join(told))
    assert [line in text for line in told] == [True, False, True, False, False, False]


@pytest.mark.parametrize("series", [dialects.RUNNING, dialects.WAITING])
def test_an_absent_series_is_named_with_the_engines_version(series: dialects.Series) -> None:
    (metric,) = (each.metric for each in series.spellings if each.engine == "vllm")
    text = page(RECORDED.replace(f"{metric}{{", "vllm:something_new{"))
    with pytest.raises(MetricAbsentError, match=rf"version 0\.32\.0\) does not report {metric}"):
        engine_sample("pod", text, "uid-1")
    with pytest.raises(MetricAbsentError, match=f"its engine does not report {metric}"):
        engine_sample("pod", RECORDED.replace(f"{metric}{{", "vllm:something_new{"))


def engine_page(engine: str) -> str:
    """What an engine of that dialect shows of the numbers that scaling reads."""
    lines = ["# TYPE some_gauge gauge", "some_gauge 4"]
    for series, value in zip(dialects.SERIES, (3, 2, 0.5), strict=True):
        name = next((each.metric for each in series.spellings if each.engine == engine), None)
        if name is not None:
            lines.append(f'{name}{{rank="0"}} {value}')
    ttft = next((each.metric for each in dialects.TTFT.spellings if each.engine == engine), None)
    if ttft is not None:
        lines += [
            f'{ttft}_bucket{{le="{edge}"}} {count}' for edge, count in (("0.1", 1), ("+Inf", 2))
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("engine", "kv", "times"),
    [
        ("vllm", 0.5, 2),
        ("sglang", 0.5, 2),
        ("tensorrt-llm", 0.5, 2),
        ("lmdeploy", 0.5, 2),
        ("tgi", None, 0),
    ],
)
def test_every_dialect_is_read_by_the_way_that_scaling_reads(
    engine: str, kv: float | None, times: int
) -> None:
    found = engine_sample("pod", engine_page(engine), histograms=True)
    assert (found.running, found.waiting, found.kv_cache) == (3, 2, kv)
    assert len(found.ttft) == times
    assert found.timings is None, "a part of them would look like all"


def test_every_name_is_somebodys() -> None:
    series = [each for each in vars(dialects).values() if isinstance(each, dialects.Series)]
    assert len(series) >= 18
    known = {*builtin_engines()}
    for each in series:
        assert {spelling.engine for spelling in each.spellings} <= known
        assert len(set(each.metrics)) == len(each.metrics)


def test_what_another_engine_lacks_is_told_in_its_own_names() -> None:
    text = "sglang:num_running_reqs 3\n"
    with pytest.raises(MetricAbsentError, match="report sglang:num_queue_reqs") as absent:
        engine_sample("pod", text)
    assert "vllm" not in str(absent.value)
    assert (
        dialects.KV_CACHE.absent("tgi")
        == "share of the KV cache in use under a name that Stoker knows"
    )
    assert dialects.not_known("tgi") == "not known for this engine (tgi)"


def test_an_engine_without_statistics_lacks_a_series() -> None:
    others = "# TYPE http_requests_total counter\nhttp_requests_total 4\n"
    with pytest.raises(MetricAbsentError):
        engine_sample("pod", others)


@pytest.mark.parametrize("text", ["", "<html>\n<p># TYPE</p>", '{"detail":"Not Found"}', "ok\n"])
def test_what_is_no_page_of_metrics_lacks_no_series(text: str) -> None:
    with pytest.raises(SampleError, match="no page of metrics") as caught:
        engine_sample("pod", text)
    assert not isinstance(caught.value, MetricAbsentError)


def test_another_pod_at_the_same_address_is_refused() -> None:
    with pytest.raises(SampleError, match=r"pod pod .*answers at its address"):
        engine_sample("other", page(RECORDED), "uid-1")
    with pytest.raises(SampleError, match=r"pod pod \(uid-1\) answers"):
        engine_sample("pod", page(RECORDED), "uid-2")
    nameless = page(RECORDED, Identity.of({}, "vllm", 0.0))
    assert engine_sample("pod", nameless, "uid-2").uid == "uid-2"


def test_old_lines_say_nothing() -> None:
    assert engine_sample("pod", page(RECORDED, age=9)).running == 2
    with pytest.raises(SampleError, match="not answered its worker for 11 s"):
        engine_sample("pod", page(RECORDED, age=11))


def test_a_name_cannot_break_out_of_its_label() -> None:
    evil = Identity.of({ENV_POD_NAME: 'x"} 1\nvllm:num_requests_running 0\n'}, "vllm", 0.0)
    assert page(RECORDED, evil).count("\nvllm:num_requests_running") == 1
