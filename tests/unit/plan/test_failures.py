"""What is said about pods that do not answer."""

import pytest

from stoker.model import reasons
from stoker.model.observed import ContainerFailure
from stoker.plan import failures
from stoker_worker.contract import Termination
from tests.unit.plan import worlds


def failure(reason: str, message: str = "", **more: object) -> ContainerFailure:
    return ContainerFailure(container="engine", reason=reason, message=message, **more)  # type: ignore[arg-type]


CRASH = Termination("EngineCrashed", "ValueError: no GPU found").to_json()
CORRUPT = Termination("ModelCorrupt", "model-00003.safetensors has sha256 a instead of b").to_json()
PICKLES = Termination("PickleWeights", "pickles alone; models.allowPickle").to_json()
NO_MODEL = Termination("ModelNotFound", "/models/tiny/config.json is missing").to_json()


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (
            failure("ImagePullBackOff", "manifest unknown"),
            reasons.IMAGE_PULL_FAILED,
            "manifest unknown",
        ),
        (failure("OOMKilled", exit_code=137), reasons.OUT_OF_MEMORY, "limits.memory"),
        (
            failure("CrashLoopBackOff", "back-off", exit_code=1, termination=CRASH),
            reasons.ENGINE_CRASHED,
            "ValueError: no GPU found",
        ),
        (
            failure("Error", exit_code=1, termination=NO_MODEL),
            reasons.MODEL_NOT_FOUND,
            "config.json is missing",
        ),
        (
            failure("CrashLoopBackOff", exit_code=1, termination=CORRUPT),
            reasons.MODEL_CORRUPT,
            "model-00003.safetensors has sha256",
        ),
        (
            failure("Error", exit_code=1, termination=PICKLES),
            reasons.PICKLE_WEIGHTS,
            "models.allowPickle",
        ),
        (
            failure("Error", exit_code=2, termination="Traceback: boom"),
            reasons.ENGINE_CRASHED,
            "with code 2: Traceback: boom",
        ),
        (failure("Error", exit_code=3), reasons.ENGINE_CRASHED, "kubectl logs"),
        (
            failure("CreateContainerConfigError", "secret not found"),
            reasons.CONTAINER_CANNOT_START,
            "secret not found",
        ),
    ],
)
def test_the_cause_is_named(found: ContainerFailure, reason: str, words: str) -> None:
    verdict = failures.failure_of([worlds.pod(failures=(found,))])
    assert verdict is not None
    assert verdict.reason == reason
    assert words in verdict.message


def test_a_ready_pod_has_no_failure() -> None:
    pod = worlds.pod(ready=True, failures=(failure("Error", exit_code=1),))
    assert failures.failure_of([pod]) is None


def test_the_worst_cause_of_all_pods_speaks_and_the_oldest_pod_first() -> None:
    pods = [
        worlds.pod("b", created=2, failures=(failure("ImagePullBackOff", "newer"),)),
        worlds.pod("c", created=1, failures=(failure("ImagePullBackOff", "older"),)),
        worlds.pod("a", created=0, failures=(failure("Error", exit_code=1),)),
    ]
    verdict = failures.failure_of(pods)
    assert verdict is not None
    assert verdict.reason == reasons.IMAGE_PULL_FAILED
    assert "older" in verdict.message


@pytest.mark.parametrize(
    ("said", "resource", "reason"),
    [
        (
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "nvidia.com/gpu",
            reasons.NO_NODE_FOR_ACCELERATOR,
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            "nvidia.com/gpu",
            reasons.NO_NODE_FOR_ACCELERATOR,
        ),
        (
            "0/3 nodes are available: 3 Insufficient memory.",
            "nvidia.com/gpu",
            reasons.UNSCHEDULABLE,
        ),
        ("0/3 nodes are available: 3 Insufficient cpu.", None, reasons.UNSCHEDULABLE),
    ],
)
def test_the_scheduler_is_quoted(said: str, resource: str | None, reason: str) -> None:
    verdict = failures.unschedulable_of([worlds.pod(unschedulable=said)], resource)
    assert verdict is not None
    assert verdict.reason == reason
    assert said in verdict.message
