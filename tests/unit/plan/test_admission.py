"""What the administrator's lists refuse, and the words that say what is allowed."""

from typing import Any

import pytest

from stoker.model import reasons
from stoker.plan import admission
from tests.unit.plan import worlds


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"accelerator": {"types": ["tpu"]}}, reasons.ACCELERATOR_NOT_OFFERED, "nvidia-l4"),
        (
            {"accelerator": {"types": ["nvidia-l4", "amd-mi300"]}},
            reasons.ACCELERATOR_NOT_OFFERED,
            "different resources",
        ),
        ({"engine": {"image": "evil.test/vllm"}}, reasons.IMAGE_NOT_ALLOWED, "registry.test/vllm"),
        (
            {"engine": {"image": "registry.test/vllm-evil:1"}},
            reasons.IMAGE_NOT_ALLOWED,
            "registry.test/vllm",
        ),
        ({"engine": {"args": {"middleware": "x"}}}, reasons.ARGUMENT_NOT_ALLOWED, "max-num-seqs"),
        (
            {"engine": {"args": {"tensor-parallel-size": "2"}}},
            reasons.ARGUMENT_NOT_ALLOWED,
            "parallelism.tensor",
        ),
        (
            {"engine": {"args": {"pipeline-parallel-size": "2"}}},
            reasons.ARGUMENT_NOT_ALLOWED,
            "parallelism.pipeline",
        ),
        (
            {"engine": {"args": {"profiler-config": "{}"}}},
            reasons.ARGUMENT_NOT_ALLOWED,
            "engine.profiling",
        ),
        (
            {
                "engine": {"args": {"max-num-seqs": "8"}},
                "optimization": {"batching": {"maxNumSeqs": 8}},
            },
            reasons.CONTRADICTION,
            "optimization.batching.maxNumSeqs",
        ),
        (
            {"engine": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}},
            reasons.ENVIRONMENT_NOT_ALLOWED,
            "OMP_NUM_THREADS",
        ),
        (
            {"engine": {"env": [{"name": "STOKER_WORKER_CONFIG", "value": "x"}]}},
            reasons.ENVIRONMENT_NOT_ALLOWED,
            "by Stoker itself",
        ),
        (
            {
                "scaling": {
                    "maxReplicas": 4,
                    "schedule": [
                        {"cron": "0 8 * * *", "duration": "1h", "minReplicas": 2},
                        {
                            "cron": "0 8 * * *",
                            "duration": "1h",
                            "minReplicas": 2,
                            "timeZone": "Asia/Shangai",
                        },
                    ],
                }
            },
            reasons.SCHEDULE_INVALID,
            "scaling.schedule[1].timeZone: there is no time zone Asia/Shangai",
        ),
        ({"template": {"labels": {"tier": "a"}}}, reasons.LABEL_NOT_ALLOWED, "team"),
        (
            {"template": {"annotations": {"example.com/a": "b"}}},
            reasons.ANNOTATION_NOT_ALLOWED,
            "note.example.com/",
        ),
        (
            {"template": {"tolerations": [{"operator": "Exists"}]}},
            reasons.TOLERATION_NOT_ALLOWED,
            "every taint",
        ),
        (
            {"template": {"priorityClassName": "system-node-critical"}},
            reasons.PRIORITY_CLASS_NOT_ALLOWED,
            "serving",
        ),
        (
            {"template": {"runtimeClassName": "kata"}},
            reasons.RUNTIME_CLASS_NOT_ALLOWED,
            "nvidia",
        ),
    ],
)
def test_refused(fields: dict[str, Any], reason: str, words: str) -> None:
    verdict = admission.refuse(worlds.spec(**fields), worlds.PLATFORM)
    assert verdict is not None
    assert verdict.reason == reason
    assert words in verdict.message


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"engine": {"image": "registry.test/vllm:0.33"}},
        {"engine": {"image": "registry.test/vllm@sha256:ab"}},
        {"engine": {"image": "registry.test/team/vllm:1"}},
        {"engine": {"args": {"max-num-seqs": "8"}}},
        {"engine": {"args": {"enforce-eager": "true"}}, "optimization": {"compile": "auto"}},
        {"engine": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}},
        {"accelerator": {"types": ["nvidia-l4", "nvidia-a100"]}},
        {"template": {"labels": {"team": "a", "cost.example.com/center": "7"}}},
        {"template": {"annotations": {"note.example.com/a": "b"}}},
        {"template": {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}},
        {"template": {"priorityClassName": "serving", "runtimeClassName": "nvidia"}},
    ],
)
def test_allowed(fields: dict[str, Any]) -> None:
    assert admission.refuse(worlds.spec(**fields), worlds.PLATFORM) is None
