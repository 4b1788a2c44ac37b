"""Every constraint with a value that passes, one that does not, and what the refusal says.

The bounds are written out here on purpose, not read from the schema: this is what was promised.
A path names where the value goes; `{key}` puts it into a mapping under that key, `[]` into a list.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

TIME = "2026-01-01T00:00:00Z"
CONDITION = {
    "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
    "lastTransitionTime": TIME,
}  # fmt: skip
CAPACITY = {"accelerator": "cpu", "granted": 1, "since": TIME, "retryAt": TIME, "attempts": 2}
LOAD = {"held": 0, "waiting": 0, "running": 0, "time": TIME}
SCALE = {"from": 0, "to": 1, "reason": "Held", "message": "", "time": TIME}
SCALING = {"reason": "LoadGrew", "message": "", "need": 2, "terms": {}, "places": 16}
REVISION = {"name": "a", "wanted": 1, "ready": 1}
TECHNIQUE = {"name": "prefixCaching", "state": "on", "reason": "Planned", "why": ""}
ESTIMATE = {"low": "1", "typical": "2", "high": "3"}
RATE = {"type": "Pods", "value": 2, "periodSeconds": 60}
WINDOW = {"cron": "0 8 * * 1-5", "duration": "10h", "minReplicas": 2}
PRICES = {"input": "0.15", "output": "0.60"}
ADAPTER = {"name": "a", "uri": "pvc://models/a"}
# What a field excludes, so that it stands in an object of its own and not in EVERYTHING.
ALONE: dict[str, dict[str, Any]] = {
    "spec.replicas": {"uri": "pvc://models"},
    "spec.model.cacheRef": {},
    "spec.model.revision": {"uri": "hf://org/model"},
    "spec.model.secretRef": {"uri": "hf://org/model"},
}
# What an object needs beside the field that is tried.
SEEDS: dict[str, dict[str, Any]] = {
    "spec": {"model": {"uri": "pvc://models"}},
    "spec.model": {"uri": "pvc://models"},
    "spec.scaling": {"maxReplicas": 1000},
    "spec.cost.publicPrice": PRICES,
    "spec.scaling.schedule[]": WINDOW,
    **{f"spec.scaling.behavior.{way}.policies[]": RATE for way in ("scaleUp", "scaleDown")},
    "spec.model.adapters[]": ADAPTER,
    "spec.engine.env[]": {"name": "A", "value": ""},
    "spec.template.tolerations[]": {"key": "a"},
    "status.conditions[]": CONDITION,
    "status.capacity[]": CAPACITY,
    "status.load": LOAD,
    "status.lastScale": SCALE,
    "status.earlierScales[]": SCALE,
    "status.scaling": SCALING,
    "status.revisions[]": REVISION,
    "spec.optimization.speculative": {"method": "draft", "model": "draft"},
    "status.plan": {"summary": ""},
    "status.plan.techniques[]": TECHNIQUE,
}
MATCH, LONG = "should match", "Too long"
BELOW, ABOVE = "greater than or equal to", "less than or equal to"
MANY, TOO_MANY = "must have at most", "Too many"
DAY = "must be between 10s and 24h: write for example 90s, 10m or 1h30m"
HOUR = "must be between 1s and 1h: write for example 90s, 10m or 1h30m"
TEN_MINUTES = "must be between 1ms and 10m: write for example 90s, 10m or 1h30m"
WEEK = "must be between 1m and 168h: write for example 90s, 10m or 1h30m"
UP_TO_HOUR = "must be between 0s and 1h: write for example 90s, 10m or 1h30m"
KEYS = "keys must be label keys"
OURS = "belong to Stoker: choose another key"


@dataclass(frozen=True)
class Case:
    """One constraint."""

    path: str
    keyword: str
    accept: Any
    reject: Any
    says: str

    @property
    def constraint(self) -> tuple[str, str]:
        """Identity, as the walk over the schema gives it."""
        return re.sub(r"\{[^}]*\}", "{}", self.path), self.keyword

    def __str__(self) -> str:
        return f"{self.path}:{self.keyword}"


def is_alone(path: str) -> bool:
    """Whether it excludes something that EVERYTHING has."""
    return any(path == each or path.startswith(f"{each}.") for each in ALONE)


def put(path: str, value: Any) -> dict[str, Any]:
    """The smallest object that has the value at the path; a copy, so that it may be changed."""
    value = copy.deepcopy(value)
    models = (model for each, model in ALONE.items() if f"{path}.".startswith(f"{each}."))
    root: dict[str, Any] = {"spec": {"model": dict(next(models, {"uri": "pvc://models"}))}}
    here: Any = root
    steps = re.findall(r"[^.\[\]{}]+|\[\]|\{[^}]*\}", path)
    walked = ""
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        walked += step if step[0] in "[{" else f".{step}" if walked else step
        upcoming = "" if last else steps[index + 1]
        filling: Any = [] if upcoming == "[]" else copy.deepcopy(SEEDS.get(walked, {}))
        if step == "[]":
            here.append(value if last else filling)
            here = here[-1]
            continue
        name = step.strip("{}")
        if last:
            here[name] = value
        elif name not in here:
            here[name] = filling
        here = here[name]
    return root


def _many(count: int, value: Any) -> dict[str, Any]:
    return {f"k{index}": value for index in range(count)}


def _times(count: int, value: Any) -> list[Any]:
    return [value] * count


def _names(count: int) -> list[str]:
    return [f"n{index}" for index in range(count)]


def _env(count: int) -> list[dict[str, str]]:
    return [{"name": f"N{index}", "value": ""} for index in range(count)]


def _at(uri: str) -> dict[str, str]:
    return {"name": "a", "uri": uri}


def _adapters(count: int) -> list[dict[str, str]]:
    return [{"name": f"n{index}", "uri": "pvc://models/a"} for index in range(count)]


def _number(path: str, low: int, high: int) -> list[Case]:
    return [
        Case(path, "minimum", low, low - 1, f"{BELOW} {low}"),
        Case(path, "maximum", high, high + 1, f"{ABOVE} {high}"),
    ]


def _text(path: str, limit: int, good: str, bad: str, letter: str = "a") -> list[Case]:
    return [
        Case(path, "pattern", good, bad, MATCH),
        Case(path, "maxLength", letter * limit, letter * (limit + 1), LONG),
    ]


def _duration(
    path: str, good: tuple[str, str], bad: tuple[str, str], says: str, pattern: str = "0h1m30s"
) -> list[Case]:
    return [
        Case(path, "pattern", pattern, "90", MATCH),
        Case(path, "maxLength", "000000m000000m60s"[1:], "000000m000000m60s", LONG),
        *(Case(path, "cel[0]", *pair, says) for pair in zip(good, bad, strict=True)),
    ]


def _latency(path: str) -> list[Case]:
    return [
        *(
            case
            for share in ("p50", "p90", "p99")
            for case in _duration(f"{path}.{share}", ("1ms", "10m"), ("0ms", "10m1ms"), TEN_MINUTES)
        ),
        Case(path, "cel[0]", {"p50": "1s"}, {}, "a latency target needs a percentile"),
    ]


def _behavior(path: str) -> list[Case]:
    return [
        Case(f"{path}.policies", "maxItems", _times(8, RATE), _times(9, RATE), TOO_MANY),
        Case(f"{path}.policies[].type", "enum", "Percent", "Replicas", '"Pods", "Percent"'),
        *_number(f"{path}.policies[].value", 1, 1000),
        *_number(f"{path}.policies[].periodSeconds", 1, 1800),
        Case(f"{path}.selectPolicy", "enum", "Disabled", "Most", '"Max", "Min", "Disabled"'),
    ]


def _mapping(path: str, key: str, bad_key: str) -> list[Case]:
    return [
        Case(path, "maxProperties", _many(16, "x"), _many(17, "x"), MANY),
        Case(path, "cel[0]", {key: "x", "a.b/c_D.e": "x"}, {bad_key: "x"}, KEYS),
        Case(path, "cel[0]", {"a" * 63: "x"}, {"a" * 64: "x"}, KEYS),
    ]


CLOCK = {"cron": "0 8 * * 1-5", "duration": "10h"}
CRON = "spec.scaling.schedule[].cron"
ZONE = "spec.scaling.schedule[].timeZone"
MODEL = {"model": {"uri": "pvc://models"}}
LABEL = "spec.template.labels"
NODES = "spec.template.nodeSelector"
NOTES = "spec.template.annotations"
TOLERATION = "spec.template.tolerations[]"
RESOURCES = "spec.template.resources"
OPTIMIZATION = "spec.optimization"
THREE = {"cpu": 1, "memory": 1, "ephemeral-storage": 1}
EXISTS = "operator Exists takes no value, and only Exists may leave out the key"

# What is behind an https:// address has to be an archive.
ONE_FILE = [
    Case("spec.model.uri", "cel[2]", "hf://a/b.gguf", "https://h/b.gguf", "no engine here loads"),
    Case(
        "spec.model.uri",
        "cel[3]",
        "s3://a/b.safetensors",
        "https://h/b.safetensors",
        "needs config.json and a tokenizer beside it",
    ),
    Case("spec.model.uri", "cel[4]", "oci://h/a/b", "https://h/b.txt", "is no model: write the"),
]
CASES = [
    # The name: 40 characters, a DNS-1035 label.
    Case("metadata.name", "cel[0]", "a" * 40, "a" * 41, "metadata.name must be a DNS-1035 label"),
    Case("metadata.name", "cel[0]", "a-1", "1-a", "starting with a letter"),
    Case("metadata.name", "cel[0]", "b", "a.b", "metadata.name must be a DNS-1035 label"),
    # What excludes what.
    Case("spec", "cel[0]", {**MODEL, "replicas": 2},
         {**MODEL, "replicas": 2, "scaling": {"maxReplicas": 2}},
         "replicas and scaling exclude each other: remove replicas to let Stoker scale"),
    *(
        Case("spec", "cel[1]",
             {**MODEL, "accelerator": {"perReplica": 8}, "parallelism": accept},
             {**MODEL, "accelerator": {"perReplica": 8}, "parallelism": reject},
             "accelerator.perReplica must be parallelism.tensor x pipeline x data: leave")
        for accept, reject in (
            ({"tensor": 8}, {"tensor": 16}),
            ({"tensor": 2}, {"tensor": 3}),  # the rest is planned
            ({"pipeline": 4, "data": 2}, {"pipeline": 4, "data": 4}),
            ({"tensor": 2, "pipeline": 2, "data": 2}, {"tensor": 2, "pipeline": 2, "data": 1}),
        )
    ),
    # The model.
    Case("spec.model.uri", "pattern", "pvc://models/a/B_1.x/", "pvc://Models", MATCH),
    Case("spec.model.uri", "pattern", "hf://org/Model-1.0_x", "hf://-org/model", MATCH),
    Case("spec.model.uri", "pattern", "oci://r.io:5000/a/b", "hf://token@org/model", MATCH),
    Case("spec.model.uri", "cel[0]", "pvc://models/a..b", "pvc://models/../b", "write pvc://CLAIM"),
    Case("spec.model.uri", "cel[0]", "s3://b/.a/x", "pvc://models/.a", "write pvc://CLAIM"),
    Case("spec.model.uri", "cel[0]", "gs://bucket/a", "ftp://host/a", "hf://ORG/NAME"),
    Case("spec.model.uri", "cel[1]", "s3://b/..a/x", "s3://b/../x", "no part of the address"),
    *ONE_FILE,
    *_text("spec.model.revision", 256, "refs/pr/1", "-x"),
    Case("spec.model.secretRef.name", "pattern", "hub.token", "Hub", MATCH),
    Case("spec.model.secretRef.name", "maxLength", "a" * 253, "a" * 254, LONG),
    Case("spec.model.cacheRef.name", "pattern", "llama.a", "Llama", MATCH),
    Case("spec.model.cacheRef.name", "maxLength", "a" * 253, "a" * 254, LONG),
    Case("spec.model", "cel[0]", {"cacheRef": {"name": "a"}}, {}, "one of uri and cacheRef"),
    Case("spec.model", "cel[0]", {"uri": "hf://a/b"},
         {"uri": "hf://a/b", "cacheRef": {"name": "a"}}, "one of uri and cacheRef"),
    Case("spec.model", "cel[1]", {"uri": "hf://a/b", "revision": "v1"},
         {"uri": "pvc://a/b", "revision": "v1"}, "a ModelCache has its own"),
    Case("spec.model", "cel[1]", {"uri": "s3://a/b", "secretRef": {"name": "s"}},
         {"cacheRef": {"name": "a"}, "secretRef": {"name": "s"}}, "a ModelCache has its own"),
    Case("spec.model", "cel[2]", {"uri": "https://h/x.tar", "revision": f"sha256:{'a' * 64}"},
         {"uri": "https://h/x.tar", "revision": "v1"}, "needs model.revision sha256:"),
    Case("spec.model", "cel[3]", {"uri": "pvc://m", "adapters": [_at("pvc://m/b")]},
         {"uri": "hf://a/b", "adapters": [_at("pvc://m/b")]}, "go with a model on a claim"),
    Case("spec.model", "cel[3]", {"cacheRef": {"name": "a"}, "adapters": []},
         {"cacheRef": {"name": "a"}, "adapters": [_at("pvc://m/b")]},
         "adapters go with a model on a claim"),
    Case("spec.model.uri", "maxLength", "pvc://" + "a" * 506, "pvc://" + "a" * 507, LONG),
    *_text("spec.model.servedName", 128, "org/Model-1.0:x", "-x"),
    *_text("spec.model.aliases[]", 128, "org/Model-1.0:x", "a b"),
    Case("spec.model.aliases", "maxItems", _names(8), _names(9), TOO_MANY),
    Case("spec.model.aliases", "duplicate", ["a", "b"], ["a", "a"], "Duplicate value"),
    Case("spec.model.adapters", "maxItems", _adapters(8), _adapters(9), TOO_MANY),
    Case("spec.model.adapters", "duplicate", _adapters(2), _times(2, ADAPTER), "Duplicate value"),
    *_text("spec.model.adapters[].name", 128, "org/Model-1.0:x", "-x"),
    Case("spec.model.adapters[].uri", "pattern", "pvc://models/a/B_1.x/", "pvc://models/a b",
         MATCH),
    Case("spec.model.adapters[].uri", "cel[0]", "pvc://models/a..b", "pvc://models/../b",
         "write pvc://CLAIM"),
    Case("spec.model.adapters[].uri", "maxLength", "pvc://models/" + "a" * 499,
         "pvc://models/" + "a" * 500, LONG),
    Case("spec.model", "cel[4]", {"uri": "pvc://m/a/", "adapters": [_at("pvc://m/a/b")]},
         {"uri": "pvc://m/a/", "adapters": [_at("pvc://m/ab")]}, "write model.uri followed by"),
    Case("spec.model", "cel[4]", {"uri": "pvc://m", "adapters": [_at("pvc://m/b")]},
         {"uri": "pvc://m", "adapters": [_at("pvc://other/b")]}, "write model.uri followed by"),
    Case("spec.model", "cel[5]", {"uri": "pvc://m", "aliases": ["b"], "adapters": [_at("pvc://m/b")]},
         {"uri": "pvc://m", "aliases": ["a"], "adapters": [_at("pvc://m/b")]},
         "a name that the model does not have"),
    Case("spec.model", "cel[5]", {"uri": "pvc://m", "servedName": "b", "adapters": [_at("pvc://m/b")]},
         {"uri": "pvc://m", "servedName": "a", "adapters": [_at("pvc://m/b")]},
         "a name that the model does not have"),
    # The engine.
    Case("spec.engine.name", "enum", "vllm", "sglang", 'supported values: "vllm"'),
    *_text("spec.engine.image", 512, "r.io:5000/a/B:v1@sha256:0", "-x"),
    Case("spec.engine.args", "maxProperties", _many(32, ""), _many(33, ""), MANY),
    Case("spec.engine.args", "cel[0]", {"max-num-seqs": "4"}, {"--max-num-seqs": "4"},
         "write flags without their dashes"),
    Case("spec.engine.args{seed}", "maxLength", "a" * 256, "a" * 257, LONG),
    Case("spec.engine.env", "maxItems", _env(32), _env(33), TOO_MANY),
    Case("spec.engine.env", "duplicate", _env(2), _times(2, {"name": "A", "value": ""}),
         "Duplicate value"),
    Case("spec.engine.env[].name", "pattern", "_A1", "a", MATCH),
    Case("spec.engine.env[].name", "maxLength", "A" * 128, "A" * 129, LONG),
    Case("spec.engine.env[].value", "maxLength", "A" * 1024, "A" * 1025, LONG),
    # What it runs on.
    Case("spec.accelerator.types", "maxItems", _names(8), _names(9), TOO_MANY),
    *_text("spec.accelerator.types[]", 63, "nvidia-a100-80gb", "NVIDIA"),
    *_number("spec.accelerator.perReplica", 1, 16),
    *_number("spec.parallelism.tensor", 1, 16),
    *_number("spec.parallelism.pipeline", 1, 16),
    *_number("spec.parallelism.data", 1, 16),
    *_number("spec.parallelism.nodes", 1, 16),
    Case("spec.parallelism.expert", "enum", "on", "yes", 'supported values: "auto", "on", "off"'),
    *_number("spec.context.maxModelLen", 16, 10_485_760),
    # What matters, and what is fixed.
    Case(f"{OPTIMIZATION}.objective", "enum", "longContext", "speed",
         'supported values: "balanced", "latency"'),
    Case(f"{OPTIMIZATION}.quantization", "enum", "awq", "int3", "supported values"),
    Case(f"{OPTIMIZATION}.kvCache.dtype", "enum", "none", "bf16", "supported values"),
    *_number(f"{OPTIMIZATION}.kvCache.offloadGiB", 0, 4096),
    Case(f"{OPTIMIZATION}.speculative.method", "enum", "eagle", "oracle", "supported values"),
    *_number(f"{OPTIMIZATION}.speculative.tokens", 1, 16),
    Case(f"{OPTIMIZATION}.speculative.model", "pattern", "drafts/A_1.b", "../drafts", MATCH),
    Case(f"{OPTIMIZATION}.speculative.model", "maxLength", "a" * 253, "a" * 254, LONG),
    Case(f"{OPTIMIZATION}.speculative", "cel[0]", {"method": "eagle", "model": "head"},
         {"method": "draft"}, "method draft or eagle and model belong together"),
    Case(f"{OPTIMIZATION}.speculative", "cel[0]", {"method": "mtp"},
         {"method": "mtp", "model": "head"}, "method draft or eagle and model belong together"),
    Case(f"{OPTIMIZATION}.speculative", "cel[0]", {}, {"model": "head"},
         "method draft or eagle and model belong together"),
    Case(f"{OPTIMIZATION}.speculative", "cel[1]", {"method": "ngram", "tokens": 2},
         {"method": "auto", "tokens": 2}, "tokens belongs to a method"),
    Case(f"{OPTIMIZATION}.speculative", "cel[1]", {"method": "mtp", "tokens": 2}, {"tokens": 2},
         "tokens belongs to a method"),
    Case(f"{OPTIMIZATION}.prefixCaching", "enum", "off", "no", "supported values"),
    *_number(f"{OPTIMIZATION}.batching.maxNumSeqs", 1, 8192),
    *_number(f"{OPTIMIZATION}.batching.maxNumBatchedTokens", 16, 1_048_576),
    *_number(f"{OPTIMIZATION}.batching.blockSize", 1, 1024),
    Case(f"{OPTIMIZATION}.batching.chunkedPrefill", "enum", "auto", "never", "supported values"),
    Case(f"{OPTIMIZATION}.compile", "enum", "on", "true", "supported values"),
    *_number(f"{OPTIMIZATION}.cpuOffloadGiB", 0, 4096),
    *_text(f"{OPTIMIZATION}.attentionBackend", 64, "FLASH_ATTN", "flash", letter="A"),
    Case(f"{OPTIMIZATION}.gpuMemoryUtilization", "minimum", 0.05, 0.04, f"{BELOW} 0.05"),
    Case(f"{OPTIMIZATION}.gpuMemoryUtilization", "maximum", 0.99, 1, ABOVE),
    Case(f"{OPTIMIZATION}.loader", "enum", "sharded_state", "gguf", "supported values"),
    Case(f"{OPTIMIZATION}.staging", "enum", "memory", "disk", "supported values"),
    Case(f"{OPTIMIZATION}.maxQualityLoss", "minimum", 0, -0.5, f"{BELOW} 0"),
    Case(f"{OPTIMIZATION}.maxQualityLoss", "maximum", 100, 100.5, f"{ABOVE} 100"),
    *_duration(f"{OPTIMIZATION}.targets.ttft", ("1ms", "10m"), ("0s", "10m1s"),
               "must be between 1ms and 10m", pattern="0m20s"),
    *_duration(f"{OPTIMIZATION}.targets.itl", ("1ms", "1m"), ("0s", "1m1s"),
               "must be between 1ms and 1m", pattern="0m20s"),
    *(
        case
        for money in ("costPerMillionTokens", "pricePerHour")
        for case in (
            Case(f"{OPTIMIZATION}.targets.{money}", "pattern", "0.80", "$1", MATCH),
            Case(f"{OPTIMIZATION}.targets.{money}", "maxLength", "123456.7890", "123456.78901",
                 LONG),
        )
    ),
    *_number(f"{OPTIMIZATION}.workload.inputTokens", 1, 10_485_760),
    *_number(f"{OPTIMIZATION}.workload.outputTokens", 1, 10_485_760),
    *_number(f"{OPTIMIZATION}.workload.concurrency", 1, 8192),
    # How many.
    *_number("spec.replicas", 0, 1000),
    *_number("spec.scaling.minReplicas", 0, 1000),
    *_number("spec.scaling.maxReplicas", 1, 1000),
    Case("spec.scaling", "cel[0]", {"minReplicas": 2, "maxReplicas": 2},
         {"minReplicas": 3, "maxReplicas": 2}, "minReplicas must not exceed maxReplicas"),
    Case("spec.scaling", "cel[1]", {"minReplicas": 2, "maxReplicas": 4, "schedule": [WINDOW]},
         {"minReplicas": 3, "maxReplicas": 4, "schedule": [WINDOW]},
         "must lie between scaling.minReplicas and scaling.maxReplicas"),
    Case("spec.scaling", "cel[1]", {"maxReplicas": 4, "schedule": [{**WINDOW, "maxReplicas": 4}]},
         {"maxReplicas": 4, "schedule": [{**WINDOW, "maxReplicas": 5}]}, "widen scaling's"),
    *_number("spec.scaling.target.queueDepth", 1, 10_000),
    *_number("spec.scaling.target.concurrency", 1, 10_000),
    Case("spec.scaling.target.kvCache", "minimum", 0.05, 0.04, f"{BELOW} 0.05"),
    Case("spec.scaling.target.kvCache", "cel[0]", 0.05, 0, "must be at least 0.05: write for ex"),
    Case("spec.scaling.target.kvCache", "maximum", 1, 1.01, f"{ABOVE} 1"),
    *(case for metric in ("ttft", "itl") for case in _latency(f"spec.scaling.target.{metric}")),
    Case("spec.scaling.schedule", "maxItems", _times(8, WINDOW), _times(9, WINDOW), TOO_MANY),
    Case(CRON, "maxLength", f"0 8 * * {'1,' * 28}", f"0 8 * * {'1,' * 29}", LONG),
    Case(CRON, "cel[0]", "*/5 8-10 1,15 JAN-MAR MON", "@daily", "write five fields"),
    Case(CRON, "cel[0]", "0 0 L * *", "0 0 8 * * 1-5", "write five fields"),
    Case(CRON, "cel[0]", "0 0 * * 1#1", "0 8 * *  1", "with one blank between them"),
    *_duration("spec.scaling.schedule[].duration", ("1m", "168h"), ("59s", "168h1s"), WEEK),
    Case(ZONE, "maxLength", "a" * 64, "a" * 65, LONG),
    Case(ZONE, "cel[0]", "America/Argentina/Buenos_Aires", "../etc", "write a name of the IANA"),
    Case(ZONE, "cel[0]", "Etc/GMT+8", "+08:00", "for example Asia/Shanghai or UTC"),
    *_number("spec.scaling.schedule[].minReplicas", 1, 1000),
    *_number("spec.scaling.schedule[].maxReplicas", 2, 1000)[1:],
    Case("spec.scaling.schedule[].maxReplicas", "minimum", 2, 0, f"{BELOW} 1"),
    Case("spec.scaling.schedule[]", "cel[0]", {**CLOCK, "maxReplicas": 1}, CLOCK,
         "an entry of a schedule needs minReplicas or maxReplicas"),
    Case("spec.scaling.schedule[]", "cel[1]", {**WINDOW, "maxReplicas": 2},
         {**WINDOW, "maxReplicas": 1}, "minReplicas must not exceed maxReplicas"),
    *_text("spec.scaling.budget.maxPerHour", 11, "12.50", "$12", "1")[:1],
    *(
        case
        for way in ("scaleUp", "scaleDown")
        for case in _behavior(f"spec.scaling.behavior.{way}")
    ),
    Case("spec.scaling.budget.maxPerHour", "maxLength", "123456.1234", "123456.12345", LONG),
    Case("spec.scaling.budget.maxPerHour", "cel[0]", "0.01", "0.00", "must be more than 0"),
    *(
        case
        for path in ("spec.cost.publicPrice.input", "spec.cost.publicPrice.output")
        for case in (
            Case(path, "pattern", "0.15", "$0.15", MATCH),
            Case(path, "maxLength", "123456.7890", "123456.78901", LONG),
        )
    ),
    *_duration("spec.scaling.scaleToZeroAfter", ("10s", "24h"), ("9s", "24h1s"), DAY),
    *_duration("spec.scaling.scaleDownStabilization", ("0s", "1h"), ("1h1ms", "61m"), UP_TO_HOUR),
    # How it changes, and its address.
    Case("spec.rollout.strategy", "enum", "recreate", "canary",
         'supported values: "rolling", "recreate"'),
    *_number("spec.rollout.maxSurge", 1, 100),
    *_number("spec.frontend.replicas", 1, 16),
    *_number("spec.frontend.maxHeld", 1, 100_000),
    *_duration("spec.frontend.holdTimeout", ("1s", "60m"), ("999ms", "61m"), HOUR),
    # What a user may add to the pods.
    *_mapping(NODES, "nvidia.com/gpu.product", "a b"),
    *_text(f"{NODES}{{a}}", 63, "NVIDIA-L4", "-x"),
    *_mapping(LABEL, "example.com/team", "-a"),
    Case(LABEL, "cel[1]", {"stoker.developers/x": "x"}, {"stoker.dev/service": "x"}, OURS),
    *_text(f"{LABEL}{{a}}", 63, "", "a b"),
    *_mapping(NOTES, "example.com/team", "a/b/c"),
    Case(NOTES, "cel[1]", {"notstoker.dev/x": "x"}, {"stoker.dev/x": "x"}, OURS),
    Case(f"{NOTES}{{a}}", "maxLength", "a" * 4096, "a" * 4097, LONG),
    Case("spec.template.tolerations", "maxItems", _times(16, {"key": "a"}),
         _times(17, {"key": "a"}), TOO_MANY),
    Case(TOLERATION, "cel[0]", {"key": "a", "operator": "Exists"},
         {"key": "a", "operator": "Exists", "value": "x"}, EXISTS),
    Case(TOLERATION, "cel[0]", {"operator": "Exists"}, {"operator": "Equal", "value": "x"}, EXISTS),
    Case(f"{TOLERATION}.key", "maxLength", "a" * 316, "a" * 317, LONG),
    Case(f"{TOLERATION}.operator", "enum", "Equal", "Lt", 'supported values: "Exists", "Equal"'),
    Case(f"{TOLERATION}.effect", "enum", "NoExecute", "Never", "supported values"),
    *_text(f"{TOLERATION}.value", 63, "", "a b"),
    *_text("spec.template.priorityClassName", 253, "high.example", "High"),
    *_text("spec.template.runtimeClassName", 253, "nvidia", "-nvidia"),
    Case(RESOURCES, "cel[0]", {"requests": {"cpu": 1}, "limits": {"cpu": "1000m"}},
         {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}, "requests must not exceed"),
    *(
        case
        for kind in ("requests", "limits")
        for case in (
            Case(f"{RESOURCES}.{kind}", "maxProperties", THREE, _many(4, 1), MANY),
            Case(f"{RESOURCES}.{kind}", "cel[0]", {"ephemeral-storage": "1Gi", "memory": "1Gi"},
                 {"nvidia.com/gpu": 1}, "accelerators are asked for with accelerator.types"),
            Case(f"{RESOURCES}.{kind}{{cpu}}", "pattern", "1.5", "1 core", MATCH),
            Case(f"{RESOURCES}.{kind}{{cpu}}", "pattern", "500m", "-1", MATCH),
            Case(f"{RESOURCES}.{kind}{{memory}}", "maxLength", "1" * 16, "1" * 33, LONG),
        )
    ),
    # The status, which only Stoker writes.
    Case("status.plan.techniques", "duplicate", [TECHNIQUE], [TECHNIQUE, TECHNIQUE],
         "Duplicate value"),
    Case("status.plan.techniques[].state", "enum", "refused", "maybe", "supported values"),
    Case("status.capacity", "duplicate", [CAPACITY], [CAPACITY, CAPACITY], "Duplicate value"),
    Case("status.capacity[].since", "format", TIME, "noon", "date-time"),
    Case("status.capacity[].retryAt", "format", TIME, "noon", "date-time"),
    Case("status.conditions", "duplicate", [CONDITION], [CONDITION, CONDITION], "Duplicate value"),
    Case("status.conditions[].type", "maxLength", "a" * 316, "a" * 317, LONG),
    Case("status.conditions[].status", "enum", "Unknown", "Perhaps", "supported values"),
    Case("status.conditions[].reason", "maxLength", "a" * 1024, "a" * 1025, LONG),
    Case("status.conditions[].message", "maxLength", "a" * 32_768, "a" * 32_769, LONG),
    Case("status.conditions[].lastTransitionTime", "format", TIME, "noon", "date-time"),
    Case("status.load.time", "format", TIME, "noon", "date-time"),
    Case("status.lastScale.time", "format", TIME, "noon", "date-time"),
    Case("status.earlierScales[].time", "format", TIME, "noon", "date-time"),
    Case("status.scaling.fewerNotBefore", "format", TIME, "noon", "date-time"),
]  # fmt: skip

# Every field there is, with values that pass: what types and names are tried on.
EVERYTHING: dict[str, Any] = {
    "apiVersion": "stoker.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "everything", "namespace": "default"},
    "spec": {
        "model": {"uri": "pvc://models/llama", "servedName": "llama", "aliases": ["gpt"],
                  "adapters": [{"name": "sql", "uri": "pvc://models/llama/sql"}]},
        "engine": {
            "name": "vllm", "image": "r.io/vllm:1", "args": {"max-num-seqs": "4"},
            "env": [{"name": "A", "value": "b"}], "profiling": True,
        },
        "accelerator": {"types": ["nvidia-l4", "cpu"], "perReplica": 2},
        "parallelism": {"tensor": 2, "pipeline": 1, "data": 1, "nodes": 1, "expert": "auto"},
        "context": {"maxModelLen": 4096},
        "optimization": {
            "objective": "latency",
            "quantization": "auto",
            "kvCache": {"dtype": "fp8", "offloadGiB": 4},
            "speculative": {"method": "draft", "model": "drafts/small", "tokens": 4},
            "prefixCaching": "on",
            "batching": {
                "maxNumSeqs": 8, "maxNumBatchedTokens": 2048, "blockSize": 16,
                "chunkedPrefill": "on",
            },
            "compile": "off",
            "cpuOffloadGiB": 0,
            "attentionBackend": "FLASHINFER",
            "gpuMemoryUtilization": 0.9,
            "loader": "safetensors",
            "staging": "none",
            "maxQualityLoss": 0.5,
            "targets": {
                "ttft": "800ms", "itl": "40ms", "costPerMillionTokens": "0.80",
                "pricePerHour": "12.50",
            },
            "workload": {"inputTokens": 1024, "outputTokens": 256, "concurrency": 8},
        },
        "scaling": {
            "minReplicas": 0, "maxReplicas": 2,
            "target": {
                "queueDepth": 4, "concurrency": 32, "kvCache": 0.8,
                "ttft": {"p50": "500ms", "p90": "800ms", "p99": "2s"},
                "itl": {"p50": "30ms", "p90": "50ms", "p99": "1s"},
            },
            "scaleToZeroAfter": "10m", "scaleDownStabilization": "5m",
            "schedule": [{**WINDOW, "timeZone": "Asia/Shanghai", "maxReplicas": 2}],
            "budget": {"maxPerHour": "12.50"},
            "behavior": {
                "scaleUp": {"policies": [RATE], "selectPolicy": "Max"},
                "scaleDown": {"policies": [RATE], "selectPolicy": "Min"},
            },
        },
        "cost": {"publicPrice": PRICES},
        "rollout": {"strategy": "rolling", "maxSurge": 1},
        "frontend": {"replicas": 1, "holdTimeout": "10m", "maxHeld": 500},
        "template": {
            "nodeSelector": {"a": "b"},
            "tolerations": [
                {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}
            ],
            "priorityClassName": "high",
            "labels": {"a": "b"},
            "annotations": {"a": "b"},
            "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2"}},
            "runtimeClassName": "nvidia",
        },
    },
    "status": {
        "observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "desiredReplicas": 2,
        "queueDepth": 3, "selector": "a=b", "address": "http://llama.default.svc/v1",
        "model": {
            "name": "llama", "architecture": "LlamaForCausalLM", "parameters": 8, "bytes": 16,
            "digest": "d", "source": "uid/llama", "facts": "{}", "reread": "again",
            "cache": "llama", "claim": "llama-cache", "revision": "0123",
        },
        "plan": {
            "summary": "1 x cpu", "accelerator": "cpu", "perReplica": 1, "tensor": 1,
            "pipeline": 1, "data": 1, "weightsGiB": 14.96, "kvCacheGiB": 4, "kvCacheTokens": 32768,
            "maxModelLen": 4096, "maxNumSeqs": 8, "concurrency": 8, "techniques": [TECHNIQUE],
            "expected": {
                "concurrency": 8, "ttft": ESTIMATE, "itl": ESTIMATE, "tokensPerSecond": ESTIMATE,
                "costPerMillionTokens": ESTIMATE, "pricePerHour": "1.10",
            },
            "alternatives": [
                {"change": "parallelism.tensor: 2", "concurrency": 16, "pricePerHour": "2.20"}
            ],
            "configuration": "{}", "revision": "0123abcd", "pace": "0.01 1 1 1 1 1 1 1 1 1",
            "inputs": {"spec": "s", "model": "m", "planner": "1", "nodes": "{}"},
            "offer": {"id": "o", "summary": "1 x cpu", "saves": "half"}, "accepted": "p",
            "proposals": [{
                "reason": "PlacesFull", "change": "optimization.batching.maxNumSeqs: 16",
                "why": "w", "gain": "g",
            }],
            "residual": {"kvTokensPredicted": 32768, "kvTokensReported": 32000},
            "measured": {
                "engine": "0.33.0", "model": "d", "planner": "1",
                "ways": [{
                    "accelerator": "cpu", "parallelism": "1x1x1", "quantization": "none",
                    "kvCacheDtype": "auto", "kv": 0.93, "ttft": 1, "itl": 10, "note": "n",
                }],
            },
        },
        "cost": {"perHour": "1.10", "perDay": "26.40", "currency": "USD"},
        "revision": "a", "revisions": [REVISION],
        "load": LOAD, "lastScale": SCALE, "earlierScales": [SCALE], "conditions": [CONDITION],
        "scaling": {
            **SCALING, "limit": "Ceiling", "fewerNotBefore": TIME, "requestSeconds": 0.5,
            "terms": {
                "places": 1, "queue": 2, "arrivals": 0.5, "backlog": 0.5, "progress": 1,
                "concurrency": 1, "kvCache": 0.5, "ttft": 1.5, "itl": 0.5,
                "forecast": 2.5,
            },
        },
        "startup": {
            "accelerator": "cpu", "nodeSeconds": 1, "imageSeconds": 2.5, "loadSeconds": 20,
            "starts": 3, "newest": 1700000000,
        },
        "capacity": [CAPACITY],
    },
}  # fmt: skip
