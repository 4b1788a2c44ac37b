"""What a pass came to, before it is put into words."""

from dataclasses import dataclass, replace

from stoker.caching.memory import Content, Memory
from stoker.model import reasons
from stoker.model.plan import Apply, Event, Verdict
from stoker_worker import modelfacts
from stoker_worker.cachecontract import FetchResult, Progress
from stoker_worker.modelfacts import FactsError


@dataclass(frozen=True, slots=True)
class Step:
    """Where the cache is. `verdict` says why it is not further; None where nothing is amiss."""

    phase: str
    memory: Memory
    keep: frozenset[str] = frozenset()  # Jobs that must not be removed
    writes: tuple[Apply, ...] = ()
    verdict: Verdict | None = None
    failed: bool = False  # nothing happens until a time, or a change
    progress: Progress | None = None
    under_way: bool = False  # a job runs or is to run
    retry_at: float | None = None  # Unix seconds
    events: tuple[Event, ...] = ()
    wanted_nodes: tuple[str, ...] | None = None  # where the cache is kept per node
    unverified: Verdict | None = None  # why the last verification did not end well


def content_of(result: FetchResult, claim: str, uid: str, folder: str) -> Content:
    """What a job found whole, and what is known of the model."""
    facts, unread = _facts(result)
    return Content(
        digest=result.digest,
        revision=result.revision,
        bytes=result.bytes,
        files=result.files,
        claim=claim,
        claim_uid=uid,
        folder=folder,
        facts=facts,
        unread=unread,
    )


def content_of_image(result: FetchResult, image: str, folder: str) -> Content:
    """What a job found in an image that it mounted."""
    return replace(content_of(result, "", "", folder), image=image)


def _facts(result: FetchResult) -> tuple[str | None, Verdict | None]:
    if result.facts is None:
        if result.unread is None:
            return None, Verdict(reasons.FACTS_NOT_READ, "The job read no facts of the model.")
        reason, message = result.unread
        return None, Verdict(str(reason), str(message))
    try:
        return modelfacts.to_json(modelfacts.from_dict(dict(result.facts))), None
    except FactsError as error:
        return None, Verdict(reasons.FACTS_NOT_READ, f"The worker's answer is {error}")


def repaired(result: FetchResult, where: str = "") -> tuple[Event, ...]:
    """Tell of files that were bad."""
    if not result.repaired:
        return ()
    names = ", ".join(result.repaired[:8])
    return (
        Event(
            "Warning",
            reasons.REPAIRED,
            f"Bad files were put aside and fetched again{where}: {names}.",
        ),
    )
