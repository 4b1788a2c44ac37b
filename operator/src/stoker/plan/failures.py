"""Why pods do not answer, in words that a newcomer can act on.

Each check is named by what it finds and answers for one pod; the list is in the order of what
explains more. The pod that is oldest speaks for all, so that the words do not change with each
retry.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from stoker.model import reasons
from stoker.model.observed import ContainerFailure, ObservedPod
from stoker.model.plan import Verdict
from stoker.naming import Component
from stoker.plan.capacity import waits_for_volume
from stoker_worker.contract import Termination, TerminationReason

_PULL: Final = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CANNOT_START: Final = frozenset(
    {
        "ContainerCannotRun",
        "CreateContainerConfigError",
        "CreateContainerError",
        "CreatePodSandboxError",
        "PostStartHookError",
        "RunContainerError",
        "StartError",
    }
)
_TERMINATIONS: Final = {
    TerminationReason.ENGINE_CRASHED: (reasons.ENGINE_CRASHED, "The engine crashed"),
    TerminationReason.ENGINE_HUNG: (reasons.ENGINE_HUNG, "The engine hung and was restarted"),
    TerminationReason.OUT_OF_MEMORY: (reasons.OUT_OF_MEMORY, "The engine ran out of memory"),
    TerminationReason.MODEL_NOT_FOUND: (reasons.MODEL_NOT_FOUND, "The model is not there"),
    TerminationReason.MODEL_INVALID: (reasons.MODEL_INVALID, "The engine cannot load the model"),
    TerminationReason.MODEL_CORRUPT: (reasons.MODEL_CORRUPT, "The model's files are bad"),
    TerminationReason.PICKLE_WEIGHTS: (reasons.PICKLE_WEIGHTS, "The engine may not read the model"),
    TerminationReason.CONFIG_INVALID: (reasons.CONFIG_INVALID, "The worker was set up wrongly"),
    TerminationReason.START_TIMED_OUT: (
        reasons.START_TIMED_OUT,
        "The engine did not start in time",
    ),
    TerminationReason.WARMUP_FAILED: (reasons.WARMUP_FAILED, "The first answer failed"),
    TerminationReason.GROUP_BROKEN: (reasons.GROUP_BROKEN, "The replica's pods lost each other"),
}
# Ends of an engine as /metrics counts them; any other end is a crash.
_WORDS: Final = {
    TerminationReason.ENGINE_HUNG: "hung",
    TerminationReason.OUT_OF_MEMORY: "out_of_memory",
    TerminationReason.GROUP_BROKEN: "group_broken",
    TerminationReason.MODEL_NOT_FOUND: "start_failed",
    TerminationReason.MODEL_INVALID: "start_failed",
    TerminationReason.MODEL_CORRUPT: "start_failed",
    TerminationReason.PICKLE_WEIGHTS: "start_failed",
    TerminationReason.CONFIG_INVALID: "start_failed",
    TerminationReason.START_TIMED_OUT: "start_failed",
    TerminationReason.WARMUP_FAILED: "start_failed",
}
_INSUFFICIENT: Final = re.compile(r"Insufficient ([A-Za-z0-9./_-]*[A-Za-z0-9])")
_NO_MATCH: Final = re.compile(r"didn't match Pod's node affinity/selector|untolerated taint")
# Reasons that only say "again"; what ended the container before is the cause.
_RETRYING: Final = "CrashLoopBackOff"


def failure_of(pods: Iterable[ObservedPod]) -> Verdict | None:
    """Why these pods do not answer; None when nothing is wrong, as far as one can see."""
    waiting = sorted(
        (pod for pod in pods if not pod.ready and not pod.deleting),
        key=lambda pod: (pod.created, pod.name),
    )
    for check in _CHECKS:
        for pod in waiting:
            verdict = check(pod)
            if verdict is not None:
                return verdict
    return None


def unschedulable_of(
    pods: Iterable[ObservedPod], resource: str | None, until: str | None = None
) -> Verdict | None:
    """What the scheduler says of pods that it cannot place; None when it places all.

    `until` is when they are withdrawn; None: never.
    """
    waiting = sorted(
        (pod for pod in pods if pod.unschedulable is not None and not pod.deleting),
        key=lambda pod: (pod.created, pod.name),
    )
    if not waiting:
        return None
    said = waiting[0].unschedulable or ""
    if waiting[0].gated:
        return Verdict(
            reasons.SCHEDULING_GATED,
            "The pod is kept from the scheduler by a scheduling gate; a queue such as Kueue lets "
            "it through when its quota has room. The pod waits for that as long as it takes.",
        )
    if waits_for_volume(said):
        return Verdict(
            reasons.CLAIM_NOT_BOUND,
            "A volume of the pod is not there yet; see kubectl get pvc. "
            f"The scheduler says: {said}",
        )
    waits = "until one does" if until is None else f"for one until {until}"
    missing = _INSUFFICIENT.findall(said)
    lacks_accelerator = resource is not None and (
        resource in missing or (not missing and _NO_MATCH.search(said) is not None)
    )
    if lacks_accelerator:
        return Verdict(
            reasons.NO_NODE_FOR_ACCELERATOR,
            f"No node offers {resource} for this service yet; the pod waits {waits}. "
            f"The scheduler says: {said}",
        )
    return Verdict(
        reasons.UNSCHEDULABLE,
        f"No node can take the pod; it waits {waits}. The scheduler says: {said}",
    )


@dataclass(frozen=True, slots=True)
class End:
    """How an engine ended that is, or was, started anew."""

    word: str  # hung, crashed, out_of_memory, start_failed, group_broken
    finished: float  # Unix seconds


def end_of(pod: ObservedPod) -> End | None:
    """The last end of an engine pod's engine; None where it never ended, or as it was told to."""
    if pod.component is not Component.ENGINE or pod.deleting:
        return None
    for failure in pod.failures:
        if failure.container != Component.ENGINE.value or failure.finished is None:
            continue
        told = Termination.parse(failure.termination) if failure.termination else None
        killed = failure.reason == "OOMKilled"
        word = "out_of_memory" if killed else _WORDS.get(told.reason if told else "", "crashed")
        return End(word, failure.finished)
    return None


def _image_cannot_be_pulled(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        if failure.reason in _PULL:
            return Verdict(
                reasons.IMAGE_PULL_FAILED,
                f"The image of container {failure.container} cannot be pulled: "
                f"{failure.message or failure.reason}. Check its name and the pull secrets.",
            )
    return None


def _container_cannot_start(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        if failure.reason in _CANNOT_START:
            return Verdict(
                reasons.CONTAINER_CANNOT_START,
                f"Container {failure.container} cannot be started: "
                f"{failure.message or failure.reason}",
            )
    return None


def _worker_left_a_word(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        termination = Termination.parse(failure.termination) if failure.termination else None
        if termination is None:
            continue
        if termination.reason in _TERMINATIONS:
            reason, words = _TERMINATIONS[termination.reason]
            return Verdict(reason, f"{words}: {termination.message}")
    return None


def _killed_for_memory(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        if failure.reason == "OOMKilled":
            return Verdict(
                reasons.OUT_OF_MEMORY,
                f"Container {failure.container} was killed because it used more memory than its "
                "limit: raise template.resources.limits.memory, or make the engine use less.",
            )
    return None


def _container_ended(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        if failure.exit_code not in (None, 0):
            return Verdict(reasons.ENGINE_CRASHED, _ended(pod, failure))
    for failure in pod.failures:
        if failure.reason == _RETRYING:
            return Verdict(reasons.ENGINE_CRASHED, _ended(pod, failure))
    return None


def _ended(pod: ObservedPod, failure: ContainerFailure) -> str:
    code = "" if failure.exit_code is None else f" with code {failure.exit_code}"
    last = failure.termination or failure.message
    said = f": {last.strip()}" if last.strip() else f"; see kubectl logs {pod.name} --previous"
    return f"Container {failure.container} ended{code}{said}"


def _pod_was_removed(pod: ObservedPod) -> Verdict | None:
    if pod.phase != "Failed" or pod.failures:
        return None
    return Verdict(reasons.EVICTED, f"Pod {pod.name} was removed from its node; another is made.")


_CHECKS: Final[tuple[Callable[[ObservedPod], Verdict | None], ...]] = (
    _image_cannot_be_pulled,
    _killed_for_memory,  # before the worker's word, which is then of an earlier end
    _worker_left_a_word,
    _container_cannot_start,
    _container_ended,
    _pod_was_removed,
)
