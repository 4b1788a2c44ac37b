"""Rules of the first level: one name for what a pod, a frontend or an accelerator tells.

Each is safe against telling one thing twice: parts are taken once by `max`, whatever scrapes them,
and a second dialect of the same pod is dropped by `or on`. A counter stays one, as all parts of a
pod begin anew together.
"""

from collections.abc import Iterator
from typing import Final

from charts.observability import names
from charts.observability.dialects import HISTOGRAMS, SINGLES, Spelling
from charts.observability.metric import POD, SERVICE
from charts.observability.promql import OURS, first, labels, once, per_pod
from charts.observability.rulefile import Group, Rule

# The endpoint picker's; a test reads its page.
HOLD_TIMES: Final = "inference_extension_flow_control_request_queue_duration_seconds"
_MIB = 1024 * 1024
_PLACE = ("cluster", "namespace", "pod")
_ENGINE = 'container="engine"'


def groups() -> tuple[Group, ...]:
    """Groups of rules, in the order in which they build on each other."""
    return (
        Group("stoker-pods", (_pod_info(), *_engines(), *_hosts())),
        Group("stoker-accelerators", tuple(_accelerators())),
        Group("stoker-frontends", tuple(_frontends())),
    )


def _pod_info() -> Rule:
    """From the scrape targets; pods that nobody scrapes by kube-state-metrics, if it may tell."""
    targets = f'max by {labels(POD)} (up{{{OURS},pod!=""}})'
    named = _relabelled(
        'kube_pod_labels{label_stoker_dev_service!="",label_stoker_dev_revision!=""}',
        service="label_stoker_dev_service",
        revision="label_stoker_dev_revision",
    )
    found = first((targets, f"max by {labels(POD)} ({named})"), _PLACE)
    return Rule(names.POD_INFO, f"topk by {labels(_PLACE)} (1,\n{found}\n) >= bool 0")


def _engines() -> Iterator[Rule]:
    for metric, spellings in HISTOGRAMS.items():
        for part in ("bucket", "sum", "count"):
            extra: tuple[str, ...] = ("le",) if part == "bucket" else ()
            yield Rule(
                metric,
                _united(spellings, *extra, suffix=f"_{part}"),
                series=f"{metric.name}_{part}",
            )
    for metric, spellings in SINGLES.items():
        more = tuple(label for label in metric.labels if label not in POD)
        yield Rule(metric, _united(spellings, *more))


def _united(spellings: tuple[Spelling, ...], *extra: str, suffix: str = "") -> str:
    return first(
        (per_pod(f"{each.series}{suffix}{{{OURS}}}", *extra, how=each.how) for each in spellings),
        POD,
    )


def _hosts() -> Iterator[Rule]:
    """The kubelet's numbers of the container, as an engine has several processes."""
    for metric, container, process in (
        (names.ENGINE_CPU, "container_cpu_usage_seconds_total", "process_cpu_seconds_total"),
        (
            names.ENGINE_MEMORY,
            "container_memory_working_set_bytes",
            "process_resident_memory_bytes",
        ),
    ):
        kubelet = once(f"{container}{{{_ENGINE}}}", _PLACE, parts=("container",))
        alone = f"max by {labels(POD)} ({process}{{{OURS}}})"
        yield Rule(metric, first((_joined(kubelet), alone), POD))


def _joined(of_pods: str) -> str:
    """What is known of pods only, with the service and the revision that they belong to."""
    return f"({of_pods})\n* on {labels(_PLACE)} group_left (service, revision) {names.POD_INFO}"


# NVIDIA's exporter (DCGM) and AMD's; `exported_` is what Prometheus makes of a pod's label where
# the exporter's own pod has the name.
_UTILIZATION = (
    ("DCGM_FI_DEV_GPU_UTIL", "100"),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "1"),  # what there is of a MIG slice
    ("gpu_gfx_activity", "100"),
    ("amd_gpu_gfx_activity", "100"),
)
_MEMORY_USED = (
    ("DCGM_FI_DEV_FB_USED", _MIB),
    ("gpu_used_vram", _MIB),
    ("amd_gpu_used_vram", _MIB),
)
_MEMORY_TOTAL = (
    ("gpu_total_vram", _MIB),
    ("amd_gpu_total_vram", _MIB),
)
_DEVICE = ("UUID", "GPU_I_ID", "gpu_uuid", "gpu_id", "gpu_partition_id", "hostname")


def _accelerators() -> Iterator[Rule]:
    shares = (_device(series, "avg") + f" / {unit}" for series, unit in _UTILIZATION)
    yield Rule(names.GPU_UTILIZATION, _joined(first(shares, _PLACE)))
    used = (_device(series, "sum") + f" * {unit}" for series, unit in _MEMORY_USED)
    yield Rule(names.GPU_MEMORY_USED, _joined(first(used, _PLACE)))
    nvidia = " + ".join(_device(f"DCGM_FI_DEV_FB_{part}", "sum") for part in ("USED", "FREE"))
    amd = (_device(series, "sum") + f" * {unit}" for series, unit in _MEMORY_TOTAL)
    yield Rule(names.GPU_MEMORY_TOTAL, _joined(first((f"({nvidia}) * {_MIB}", *amd), _PLACE)))


def _device(series: str, how: str) -> str:
    exported = _relabelled(
        f'{series}{{exported_pod!=""}}', pod="exported_pod", namespace="exported_namespace"
    )
    return once(
        f'{exported} or {series}{{exported_pod="",pod!=""}}', _PLACE, how=how, parts=_DEVICE
    )


def _relabelled(series: str, **sources: str) -> str:
    """Labels under the names that the vocabulary has for them."""
    for target, source in sources.items():
        series = f'label_replace({series}, "{target}", "$1", "{source}", "(.+)")'
    return series


def _frontends() -> Iterator[Rule]:
    """Envoy counts a request by its last try, the endpoint picker what it holds."""
    tracks = 'envoy_cluster_name=~"track_.+",service!=""'
    answered = once(
        f"envoy_cluster_upstream_rq{{{tracks}}}",
        (*SERVICE, "pod", "envoy_response_code"),
        parts=("envoy_cluster_name",),
    )
    code = _relabelled(answered, code="envoy_response_code")
    yield Rule(names.FRONTEND_REQUESTS, f"sum by {labels((*SERVICE, 'pod', 'code'))} ({code})")
    yield Rule(names.HELD_REQUESTS, _held())
    flows = ("fairness_id", "priority", "inference_pool", "model_name", "target_model_name")
    for part in ("bucket", "sum", "count"):
        extra = ("le",) if part == "bucket" else ()
        series = f"{HOLD_TIMES}_{part}"
        yield Rule(
            names.HOLD_TIME,
            once(f'{series}{{service!=""}}', (*SERVICE, "pod", "outcome", *extra), parts=flows),
            series=f"{names.HOLD_TIME}_{part}",
        )


def _held() -> str:
    """What came in and is with no engine; where Envoy is not scraped, what the pickers tell."""
    active = "envoy_cluster_upstream_rq_active"
    parts = ("pod", "envoy_cluster_name")
    arrived, computed = (
        once(f'{active}{{envoy_cluster_name=~"{name}_.+",service!=""}}', SERVICE, parts=parts)
        for name in ("track", "engines")
    )
    flows = ("pod", "fairness_id", "priority", "inference_pool", "model_name", "target_model_name")
    told = once('inference_extension_flow_control_queue_size{service!=""}', SERVICE, parts=flows)
    return first((f"clamp_min({arrived} - {computed}, 0)", told), SERVICE)
