"""A pass in words: phase, conditions, progress, events. Nothing of a Secret ever comes here."""

from collections.abc import Mapping
from typing import Any, Final

from stoker.caching import words
from stoker.caching.context import Context
from stoker.caching.memory import Content, Memory
from stoker.caching.step import Step
from stoker.model import reasons
from stoker.model.cache import ObservedCache
from stoker.model.plan import Condition, Event, Verdict
from stoker.plan.texts import cut

READY: Final = "Ready"
RESOLVED: Final = "Resolved"
VERIFIED: Final = "Verified"
_WORDS: Final = 1000
_FEW_WORDS: Final = 400
_QUARTERS: Final = (25, 50, 75)

size = words.size


def build_status(observed: ObservedCache, step: Step, context: Context | None) -> dict[str, Any]:
    """The whole status; the writer adds times, and drops what is empty."""
    memory = step.memory
    content = memory.content
    conditions = (_ready(step), _resolved(step, context), _verified(step))
    return {
        **memory.write(),
        "observedGeneration": observed.cache.generation,
        "phase": step.phase,
        "size": None if content is None else size(content.bytes),
        "progress": _progress(step),
        "nodes": _nodes(step),
        "conditions": [
            {
                "type": each.type,
                "status": each.status,
                "reason": each.reason,
                "message": cut(each.message, _WORDS if each.type == READY else _FEW_WORDS),
            }
            for each in conditions
        ],
    } | _pending_size(memory)


def _pending_size(memory: Memory) -> dict[str, Any]:
    """Before anything is whole, how large it will be."""
    if memory.content is not None or memory.resolved is None:
        return {}
    return {"size": size(memory.resolved.bytes)}


def _progress(step: Step) -> dict[str, Any] | None:
    page, resolved = step.progress, step.memory.resolved
    total = 0 if page is None else page.bytes or (resolved.bytes if resolved else 0)
    if page is None or total <= 0:
        return None
    percent = max(0, min(100, int(100 * page.done / total)))
    return {
        "percent": percent,
        "shown": f"{percent}%",
        "downloaded": page.done,
        "speed": words.speed(page.speed) if page.speed > 0 else None,
        "remaining": None if page.remaining_s is None else words.remaining(page.remaining_s),
    }


def _nodes(step: Step) -> dict[str, Any] | None:
    if step.wanted_nodes is None:
        return None
    ready = sum(node.ready for node in step.memory.nodes.values())
    wanted = len(step.wanted_nodes)
    return {
        "ready": ready,
        "wanted": wanted,
        "shown": f"{ready}/{wanted}",
        "of": step.memory.nodes_of or "-",
        "list": step.memory.write_nodes(),
    }


def _ready(step: Step) -> Condition:
    content = step.memory.content
    now = _doing(step)
    if content is None:
        return Condition(READY, "False", now.reason, now.message)
    if step.phase == "Ready":
        return Condition(READY, "True", reasons.CACHE_READY, _what(content))
    updating = now.reason in {reasons.FETCHING, reasons.RESOLVING, reasons.WAITING_FOR_POD}
    reason = reasons.CACHE_UPDATING if updating else now.reason
    return Condition(READY, "True", reason, f"{now.message} {_what(content)}")


def _what(content: Content) -> str:
    if content.image is not None:
        return (
            f"Revision {content.revision}, {content.files} files, {size(content.bytes)}, is "
            f"mounted from image {content.image}, folder /{content.folder}."
        )
    return (
        f"Revision {content.revision}, {content.files} files, {size(content.bytes)}, is on claim "
        f"{content.claim} in models/{content.folder}."
    )


def _doing(step: Step) -> Verdict:
    """What happens, or why it does not."""
    if step.verdict is not None:
        return step.verdict
    resolved = step.memory.resolved
    if step.phase == "Resolving":
        return Verdict(reasons.RESOLVING, "The source is asked for its revision and its files.")
    if step.phase == "Verifying":
        return Verdict(reasons.VERIFYING, "Every byte is compared with its digest.")
    whole = "" if resolved is None else f" of {size(resolved.bytes)}"
    if step.phase == "Fetching":
        progress = _progress(step)
        told = "" if progress is None else f" {progress['shown']}{whole} so far."
        return Verdict(reasons.FETCHING, f"The model is being fetched.{told}")
    if step.under_way:
        return Verdict(reasons.WAITING_FOR_POD, f"The job that fetches the model{whole} starts.")
    return Verdict(reasons.NODES_MISSING, "Some nodes do not hold the model yet.")


def _resolved(step: Step, context: Context | None) -> Condition:
    resolved = step.memory.resolved
    if resolved is not None and context is not None and resolved.source == context.source:
        message = (
            f"{context.spec.model.uri} is at revision {resolved.revision}: {resolved.files} files, "
            f"{size(resolved.bytes)}."
        )
        return Condition(RESOLVED, "True", reasons.RESOLVED, message)
    verdict = _doing(step)
    return Condition(
        RESOLVED, "False" if step.failed else "Unknown", verdict.reason, verdict.message
    )


def _verified(step: Step) -> Condition:
    if step.unverified is not None:
        return Condition(VERIFIED, "False", step.unverified.reason, step.unverified.message)
    if step.memory.content is None:
        return Condition(VERIFIED, "Unknown", reasons.NOT_FETCHED, "Nothing is there to verify.")
    told = (
        "At lastVerified every byte had its digest."
        if step.memory.content.image is None
        else "At lastVerified a pod mounted the image; its runtime compares with the digest what "
        "it pulls."
    )
    return Condition(VERIFIED, "True", reasons.VERIFIED, told)


def build_events(observed: ObservedCache, step: Step) -> tuple[Event, ...]:
    """What happened since the last pass, as its status says."""
    before = observed.cache.status
    told = [*step.events, *_progressed(before, step)]
    old, new = before.get("phase"), step.phase
    content, previous = step.memory.content, before.get("digest")
    if content is not None and (content.digest != previous or old is None):
        told.append(Event("Normal", reasons.FETCHED, f"100%: {_what(content)}"))
    judged = _ready(step)
    last = _condition(before, READY)
    # What the job before said too is no news.
    news = judged.reason not in {last.get("reason"), (before.get("attempt") or {}).get("reason")}
    if step.verdict is not None and news:
        told.append(Event("Warning", judged.reason, step.verdict.message))
    elif new == "Ready" and old in {"Degraded", "Failed"} and content is not None:
        told.append(Event("Normal", reasons.CACHE_READY, _what(content)))
    return tuple(told)


def _progressed(before: Mapping[str, Any], step: Step) -> list[Event]:
    """0 % when the job begins, then each quarter once."""
    progress = _progress(step)
    if progress is None or step.phase != "Fetching":
        return []
    last = (before.get("progress") or {}).get("percent")
    percent = progress["percent"]
    speed = f", {progress['speed']}" if progress["speed"] else ""
    rest = f", {progress['remaining']} to go" if progress["remaining"] else ""
    if not isinstance(last, int):
        return [Event("Normal", reasons.FETCHING, f"{percent}%{speed}{rest}")]
    passed = [mark for mark in _QUARTERS if last < mark <= percent]
    return [Event("Normal", reasons.FETCHING, f"{passed[-1]}%{speed}{rest}")] if passed else []


def _condition(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for entry in status.get("conditions") or ():
        if entry.get("type") == name:
            found: Mapping[str, Any] = entry
            return found
    return {}
