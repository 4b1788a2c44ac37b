"""What a pod tells is recorded under one name, once, in every dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charts.observability import names, recording
from charts.observability.dialects import HISTOGRAMS, SINGLES
from tests.support.promtool import Case

if TYPE_CHECKING:
    from charts.observability.metric import Metric
    from tests.support.promtool import Promtool

POD = 'namespace="team",pod="chat-1",revision="r1",service="chat"'
PARTS = {"sum": 30.0, "max": 20.0, "avg": 15.0}


def both_parts_twice(pod: str, series: str, extra: str) -> dict[str, str]:
    """Two ranks with 10 and 20, each scraped by two targets; and a stranger."""
    found = {}
    for rank, value in (("0", 10), ("1", 20)):
        for job in ("stoker", "mine"):
            labels = f'{pod},engine="{rank}",model_name="m",job="{job}",instance="{job}:1"{extra}'
            found[f"{series}{{{labels}}}"] = f"{value}x5"
    return found | {f'{series}{{namespace="team",pod="other",service="x"{extra}}}': "7x5"}


def parts(metric: Metric) -> dict[str, str]:
    """The series of a metric by their ending, and the labels that they have besides."""
    if metric.kind == "histogram":
        return {"_bucket": ',le="0.5"', "_sum": "", "_count": ""}
    return {"": ',finished_reason="stop"' if metric is names.REQUESTS_FINISHED else ""}


def every_dialect() -> Case:
    """A pod for each spelling of each metric."""
    series: dict[str, str] = {}
    expected: dict[str, float] = {}
    for metric, spellings in [*HISTOGRAMS.items(), *SINGLES.items()]:
        for spelling in spellings:
            pod = POD.replace("chat-1", spelling.series)
            for suffix, extra in parts(metric).items():
                series |= both_parts_twice(pod, f"{spelling.series}{suffix}", extra)
                told = f"{metric.name}{suffix}{{{pod}{extra}}}"
                expected[told] = PARTS[spelling.how]
    recorded = {name.partition("{")[0] for name in expected}
    query = f'{{__name__=~"{"|".join(sorted(recorded))}"}}'
    return Case("every dialect", series, query, expected, proves=tuple(recorded))


WORKLOAD = 'namespace="team",pod="chat-1"'
EXPORTED = 'namespace="gpu-operator",pod="dcgm-9",exported_namespace="team",exported_pod="chat-1"'
UP = {f'up{{{POD},job="stoker"}}': "1x20"}
MIB = 1024 * 1024


def gpus(series: str, labels: str, first: float, second: float) -> dict[str, str]:
    return {
        f'{series}{{UUID="GPU-{number}",{labels}}}': f"{value}x20"
        for number, value in ((0, first), (1, second))
    }


def on_the_pod(metric: Metric, value: float) -> dict[str, float]:
    return {f"{metric}{{{POD}}}": value}


OTHERS = [
    Case("a pod is known by its target, up or down", {
        f'up{{{POD},job="a"}}': "1x20", f'up{{{POD},job="b"}}': "0x20",
        'up{namespace="team",pod="chat-2",revision="r1",service="chat"}': "0x20",
        'up{namespace="team",pod="else",service="chat"}': "1x20",
    }, str(names.POD_INFO), {
        f"{names.POD_INFO}{{{POD}}}": 1,
        f'{names.POD_INFO}{{namespace="team",pod="chat-2",revision="r1",service="chat"}}': 1,
    }, proves=(names.POD_INFO.name,)),
    Case("a pod that nobody scrapes is known by its labels", {
        'kube_pod_labels{namespace="team",pod="chat-1",label_stoker_dev_service="chat",'
        'label_stoker_dev_revision="r1",job="kube-state-metrics"}': "1x20",
    }, str(names.POD_INFO), {f"{names.POD_INFO}{{{POD}}}": 1}),
    Case("a pod with two revisions, by mistake, is one pod", {
        f"up{{{POD}}}": "1x20",
        'up{namespace="team",pod="chat-1",revision="r2",service="chat"}': "1x20",
    }, f"count({names.POD_INFO})", {"{}": 1}),
    Case("two dialects of one pod are told apart by age", {
        f"vllm:kv_cache_usage_perc{{{POD}}}": "0.4x20",
        f"vllm:gpu_cache_usage_perc{{{POD}}}": "0.4x20",
        f'vllm:inter_token_latency_seconds_bucket{{{POD},le="0.1"}}': "3x20",
        f'vllm:time_per_output_token_seconds_bucket{{{POD},le="0.3"}}': "3x20",
    }, '{__name__=~"stoker:kv_cache_usage_ratio|stoker:itl_seconds_bucket"}', {
        f"stoker:kv_cache_usage_ratio{{{POD}}}": 0.4,
        f'stoker:itl_seconds_bucket{{{POD},le="0.1"}}': 3,
    }),
    Case("pods of one service may speak different dialects", {
        f"vllm:num_requests_waiting{{{POD}}}": "1x20",
        'sglang:num_queue_reqs{namespace="team",pod="chat-2",revision="r2",service="chat"}': "2x20",
    }, f"sum by (service) ({names.REQUESTS_WAITING})", {'{service="chat"}': 3}),
    Case("an external label stays", {
        f'vllm:num_requests_waiting{{cluster="eu",{POD}}}': "1x20",
    }, str(names.REQUESTS_WAITING), {f'{names.REQUESTS_WAITING}{{cluster="eu",{POD}}}': 1}),
    Case("a pod that has gone leaves nothing behind", {
        f"vllm:num_requests_waiting{{{POD}}}": "1x5 stale",
    }, str(names.REQUESTS_WAITING), {}, at="7m"),
    Case("a counter that begins anew is a counter that begins anew", {
        f'vllm:generation_tokens_total{{{POD},instance="a"}}': "0+60x9 0+60x10",
        f'vllm:generation_tokens_total{{{POD},instance="b"}}': "0+60x9 0+60x10",
    }, f"rate({names.GENERATION_TOKENS}[10m])", {f"{{{POD}}}": 8 / 9}, at="16m"),
    Case("CPU of the container", UP | {
        f'container_cpu_usage_seconds_total{{{WORKLOAD},container="engine",node="n"}}': "90x20",
        f'container_cpu_usage_seconds_total{{{WORKLOAD},container="",node="n"}}': "0+9x20",
        'container_cpu_usage_seconds_total{namespace="team",pod="x",container="engine"}': "0+9x20",
        f"process_cpu_seconds_total{{{POD}}}": "15x20",
    }, str(names.ENGINE_CPU), on_the_pod(names.ENGINE_CPU, 90), proves=(names.ENGINE_CPU.name,)),
    Case("CPU of the process where the kubelet is not scraped", UP | {
        f'process_cpu_seconds_total{{{POD},job="a"}}': "15x20",
        f'process_cpu_seconds_total{{{POD},job="b"}}': "15x20",
    }, str(names.ENGINE_CPU), on_the_pod(names.ENGINE_CPU, 15)),
    Case("memory of the container", UP | {
        f'container_memory_working_set_bytes{{{WORKLOAD},container="engine"}}': "500x20",
        f"process_resident_memory_bytes{{{POD}}}": "100x20",
    }, str(names.ENGINE_MEMORY), on_the_pod(names.ENGINE_MEMORY, 500),
        proves=(names.ENGINE_MEMORY.name,)),
    Case("NVIDIA, whose labels Prometheus kept", UP
        | gpus("DCGM_FI_DEV_GPU_UTIL", WORKLOAD, 40, 80),
        str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.6),
        proves=(names.GPU_UTILIZATION.name,)),
    Case("NVIDIA, whose labels Prometheus renamed", UP
        | gpus("DCGM_FI_DEV_GPU_UTIL", EXPORTED, 40, 80),
        str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.6)),
    Case("NVIDIA, scraped both ways", UP | gpus("DCGM_FI_DEV_GPU_UTIL", EXPORTED, 40, 80)
        | gpus("DCGM_FI_DEV_GPU_UTIL", WORKLOAD, 40, 80),
        str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.6)),
    Case("an accelerator of nobody's pod is nobody's", UP
        | {'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-0",pod="",namespace=""}': "9x20",
           'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",pod="train",namespace="team"}': "9x20"},
        str(names.GPU_UTILIZATION), {}),
    Case("a slice of an accelerator", UP | {
        f'DCGM_FI_PROF_GR_ENGINE_ACTIVE{{UUID="GPU-0",GPU_I_ID="1",{WORKLOAD}}}': "0.5x20",
        f'DCGM_FI_PROF_GR_ENGINE_ACTIVE{{UUID="GPU-0",GPU_I_ID="2",{WORKLOAD}}}': "0.7x20",
    }, str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.6)),
    Case("AMD", UP | {
        f'gpu_gfx_activity{{gpu_id="{number}",gpu_uuid="u{number}",hostname="h",{WORKLOAD}}}':
        f"{value}x20" for number, value in ((0, 10), (1, 30))
    }, str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.2)),
    Case("AMD with a prefix", UP | {
        f'amd_gpu_gfx_activity{{gpu_id="0",hostname="h",{EXPORTED}}}': "10x20",
    }, str(names.GPU_UTILIZATION), on_the_pod(names.GPU_UTILIZATION, 0.1)),
    Case("NVIDIA's memory in use", UP | gpus("DCGM_FI_DEV_FB_USED", EXPORTED, 1000, 2000),
        str(names.GPU_MEMORY_USED), on_the_pod(names.GPU_MEMORY_USED, 3000 * MIB),
        proves=(names.GPU_MEMORY_USED.name,)),
    Case("NVIDIA's memory", UP | gpus("DCGM_FI_DEV_FB_USED", EXPORTED, 1000, 2000)
        | gpus("DCGM_FI_DEV_FB_FREE", EXPORTED, 4000, 3000),
        str(names.GPU_MEMORY_TOTAL), on_the_pod(names.GPU_MEMORY_TOTAL, 10000 * MIB),
        proves=(names.GPU_MEMORY_TOTAL.name,)),
    Case("AMD's memory", UP | {
        f'gpu_used_vram{{gpu_id="0",{WORKLOAD}}}': "100x20",
        f'gpu_total_vram{{gpu_id="0",{WORKLOAD}}}': "400x20",
    }, f"{names.GPU_MEMORY_USED} / on (pod) {names.GPU_MEMORY_TOTAL}", {'{pod="chat-1"}': 0.25}),
]  # fmt: skip

FRONT = 'namespace="team",service="chat"'


def envoy(code: str, pod: str, track: str, job: str) -> str:
    return (
        f'envoy_cluster_upstream_rq{{{FRONT},pod="{pod}",envoy_cluster_name="{track}",'
        f'envoy_response_code="{code}",job="{job}"}}'
    )


def active(cluster: str, pod: str, job: str = "a") -> str:
    labels = f'{FRONT},pod="{pod}",envoy_cluster_name="{cluster}",job="{job}"'
    return f"envoy_cluster_upstream_rq_active{{{labels}}}"


QUEUE = "inference_extension_flow_control_queue_size"
HOLD = "inference_extension_flow_control_request_queue_duration_seconds"
FLOW = f'{FRONT},pod="f-1",fairness_id="default-flow",priority="0",inference_pool="chat"'
FRONTENDS = [
    Case("answers by status, of both tracks, once", {
        envoy("200", "f-1", "track_stable", "a"): "100x20",
        envoy("200", "f-1", "track_stable", "b"): "100x20",
        envoy("200", "f-1", "track_candidate", "a"): "10x20",
        envoy("503", "f-1", "track_stable", "a"): "5x20",
        envoy("200", "f-1", "engines_stable", "a"): "999x20",
    }, str(names.FRONTEND_REQUESTS), {
        f'{names.FRONTEND_REQUESTS}{{{FRONT},pod="f-1",code="200"}}': 110,
        f'{names.FRONTEND_REQUESTS}{{{FRONT},pod="f-1",code="503"}}': 5,
    }, proves=(names.FRONTEND_REQUESTS.name,)),
    Case("held is what came in and is with no engine", {
        active("track_stable", "f-1"): "9x20", active("engines_stable", "f-1"): "2x20",
        active("track_stable", "f-1", "b"): "9x20", active("engines_stable", "f-1", "b"): "2x20",
        active("track_stable", "f-2"): "1x20", active("engines_stable", "f-2"): "1x20",
        f"{QUEUE}{{{FLOW}}}": "99x20",
    }, str(names.HELD_REQUESTS), {f"{names.HELD_REQUESTS}{{{FRONT}}}": 7},
        proves=(names.HELD_REQUESTS.name,)),
    Case("pages of two moments never make it negative", {
        active("track_stable", "f-1"): "1x20", active("engines_stable", "f-1"): "2x20",
    }, str(names.HELD_REQUESTS), {f"{names.HELD_REQUESTS}{{{FRONT}}}": 0}),
    Case("held by the pickers where Envoy is not scraped", {
        f'{QUEUE}{{{FLOW},job="a"}}': "3x20", f'{QUEUE}{{{FLOW},job="b"}}': "3x20",
        f'{QUEUE}{{{FLOW.replace("f-1", "f-2")}}}': "4x20",
    }, str(names.HELD_REQUESTS), {f"{names.HELD_REQUESTS}{{{FRONT}}}": 7}),
    *(
        Case(f"hold times: {part}", {
            f'{HOLD}_{part}{{{FLOW},outcome="EvictedTTL",job="a"{le}}}': "4x20",
            f'{HOLD}_{part}{{{FLOW},outcome="EvictedTTL",job="b"{le}}}': "4x20",
        }, f"{names.HOLD_TIME}_{part}", {
            f'{names.HOLD_TIME}_{part}{{{FRONT},pod="f-1",outcome="EvictedTTL"{le}}}': 4,
        }, proves=(f"{names.HOLD_TIME}_{part}",))
        for part, le in (("bucket", ',le="1.0"'), ("sum", ""), ("count", ""))
    ),
]  # fmt: skip
CASES = [every_dialect(), *OTHERS, *FRONTENDS]


def test_what_pods_tell(promtool: Promtool) -> None:
    promtool.prove(recording.groups(), CASES)


def test_every_rule_is_proven_by_value() -> None:
    rules = {rule.record for group in recording.groups() for rule in group.rules}
    assert rules == {name for case in CASES for name in case.proves}
