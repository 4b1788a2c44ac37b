"""What a ModelCache's status says, for people and programs, and whether it says what is waited for.

Nothing here asks a cluster. The status may be older or newer than this program, and may be absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.api import modelcache
from stoker.caching.words import size
from stoker.cluster.store import source_of_cache, uses
from stoker.commands.exits import Exit
from stoker.commands.statuses import condition, mapping, mappings, text, whole

READY: Final = "Ready"
_ENDED: Final = frozenset({"Degraded", "Failed"})
_WORKING: Final = frozenset({"Resolving", "Pending", "Fetching", "Verifying"})


@dataclass(frozen=True, slots=True)
class CacheView:
    """One cache. Sizes in bytes; None: not said."""

    namespace: str
    name: str
    uri: str | None
    phase: str | None
    percent: int | None
    downloaded: int | None
    bytes: int | None
    speed: str | None
    remaining: str | None
    nodes_ready: int | None
    nodes_wanted: int | None
    last_verified: str | None
    used_by: tuple[str, ...] | None  # InferenceServices; None: they may not be listed
    reason: str | None  # why it is not simply ready
    message: str | None
    revision: str | None
    claim: str | None
    image: str | None  # that is mounted in a claim's place
    folder: str | None


@dataclass(frozen=True, slots=True)
class Ending:
    """What was waited for has come, or never will."""

    exit: Exit | None  # None: nobody waits for it
    words: str
    repaired: tuple[str, ...] = ()


def view(body: Mapping[str, Any], services: Iterable[Mapping[str, Any]] | None) -> CacheView:
    """A cache, with the services of its namespace or of all; None where they are not known."""
    metadata, status = mapping(body.get("metadata")), mapping(body.get("status"))
    progress, nodes = mapping(status.get("progress")), mapping(status.get("nodes"))
    resolved = mapping(status.get("resolved"))
    phase = text(status.get("phase"))
    percent = whole(progress.get("percent"))
    reason, message = _why(status)
    return CacheView(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "?")),
        uri=source_of_cache(body) or None,
        phase=phase,
        percent=100 if percent is None and phase == READY else percent,
        downloaded=whole(progress.get("downloaded")),
        bytes=whole(resolved.get("bytes")) or whole(status.get("bytes")),
        speed=text(progress.get("speed")),
        remaining=text(progress.get("remaining")),
        nodes_ready=whole(nodes.get("ready")),
        nodes_wanted=whole(nodes.get("wanted")),
        last_verified=text(status.get("lastVerified")),
        used_by=None if services is None else tuple(_users(body, services)),
        reason=reason,
        message=message,
        revision=text(status.get("revision")) or text(resolved.get("revision")),
        claim=text(status.get("claim")),
        image=text(status.get("image")),
        folder=text(status.get("folder")),
    )


def _why(status: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Why it is not simply ready."""
    verified = condition(status, "Verified")
    if verified.get("status") == "False":
        found = verified
    elif status.get("phase") == READY:
        return None, None
    else:
        found = condition(status, READY)
    return text(found.get("reason")), text(found.get("message"))


def _users(body: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> list[str]:
    metadata = mapping(body.get("metadata"))
    name, namespace = str(metadata.get("name", "")), metadata.get("namespace")
    source = source_of_cache(body)
    found = []
    for service in services:
        its = mapping(service.get("metadata"))
        if its.get("namespace") == namespace and _is_user(service, name, source):
            found.append(str(its.get("name")))
    return sorted(found)


def _is_user(service: Mapping[str, Any], name: str, source: str) -> bool:
    """By its status where that names a cache: several may have the same source."""
    named = mapping(mapping(service.get("status")).get("model")).get("cache")
    if isinstance(named, str) and named:
        return named == name
    # The spec is as the API server took it.
    return uses(service, name, source)


def amount(cache: CacheView) -> str:
    """How much of how much, as far as it is said."""
    if cache.bytes is None:
        return ""
    if cache.downloaded is None or cache.nodes_wanted is not None:
        return size(cache.bytes)
    return f"{size(cache.downloaded)} of {size(cache.bytes)}"


def line(cache: CacheView) -> str:
    """Where it is, in one line."""
    if cache.phase is None:
        return "the operator has not looked at it yet"
    percent = "" if cache.percent is None else f" {cache.percent}%"
    parts = [f"{cache.phase}{percent}", amount(cache), cache.speed or ""]
    if cache.remaining is not None:
        parts.append(f"{cache.remaining} left")
    if cache.nodes_wanted is not None:
        parts.append(f"{cache.nodes_ready or 0} of {cache.nodes_wanted} nodes ready")
    told = ", ".join(part for part in parts if part)
    if cache.reason is None or cache.phase in {"Fetching", "Verifying", "Resolving"}:
        return told
    return f"{told}; {cache.reason}: {cache.message or ''}".rstrip(": ")


def warmed(body: Mapping[str, Any]) -> Ending | None:
    """Whether a cache holds what its spec wants, on each of its nodes; None while that may come."""
    going = _going(body)
    if going is not None or not _is_seen(body):
        return going
    cache = view(body, None)
    if cache.phase == READY:
        wanted = cache.nodes_wanted
        if wanted is not None and (cache.nodes_ready or 0) < wanted:
            return None
        where = "" if wanted is None else f", on {wanted} node{'s' if wanted > 1 else ''}"
        whole_ = "" if cache.bytes is None else f" with {size(cache.bytes)}"
        kept = f"claim {cache.claim}, models/{cache.folder}"
        if cache.image is not None:
            kept = f"image {cache.image}, folder /{cache.folder or ''}"
        return Ending(
            Exit.DONE,
            f"{_named(cache)} is ready{whole_}{where}: revision {cache.revision}, {kept}",
        )
    return _failed(cache, body) if cache.phase in _ENDED else None


def attempts_of(body: Mapping[str, Any]) -> frozenset[str]:
    """Uids of the Jobs that failed last, so that what fails later is told from them."""
    status = mapping(body.get("status"))
    entries = [mapping(status.get("attempt")), *_node_list(status)]
    return frozenset(uid for each in entries if (uid := text(each.get("uid"))))


def holds(body: Mapping[str, Any]) -> bool:
    """Whether there is anything to verify."""
    return text(mapping(body.get("status")).get("digest")) is not None


def proven(body: Mapping[str, Any], word: str, before: frozenset[str]) -> Ending | None:
    """Whether every byte was read for this word; `before`: Jobs that had failed by then."""
    going = _going(body)
    if going is not None:
        return going
    status, cache = mapping(body.get("status")), view(body, None)
    if attempts_of(body) - before and cache.phase in _ENDED:
        return _failed(cache, body)
    if status.get("verified") != word or cache.phase in _WORKING:
        return None
    if any(each.get("verified") == 0 for each in _node_list(status)):
        return None
    if cache.phase in _ENDED:
        return _failed(cache, body)
    files = tuple(each for each in status.get("repaired") or () if isinstance(each, str))
    at = f" at {cache.last_verified}" if cache.last_verified else ""
    if files:
        return Ending(
            Exit.DONE,
            f"{_named(cache)} is good again: {', '.join(files)} had other bytes than promised, "
            f"and came from the source once more; every byte was compared{at}",
            files,
        )
    return Ending(Exit.DONE, f"{_named(cache)} is good: every byte has its digest{at}")


def as_data(cache: CacheView, ending: Ending) -> dict[str, Any]:
    """How it ended, for programs."""
    return {
        "cache": _named(cache),
        "done": ending.exit is Exit.DONE,
        "phase": cache.phase,
        "message": ending.words,
        "bytes": cache.bytes,
        "lastVerified": cache.last_verified,
        "repaired": list(ending.repaired),
    }


def same_model(body: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether a cache is of just this model."""
    its = mapping(mapping(body.get("spec")).get("model"))
    return all(its.get(name) == model.get(name) for name in ("uri", "revision", "secretRef"))


def name_for(uri: str) -> str:
    """A name for the cache of an address: the last part of it, as Kubernetes allows names."""
    last = uri.rstrip("/").rpartition("/")[2].lower()
    named = "".join(each if each.isascii() and each.isalnum() else "-" for each in last)
    while "--" in named:
        named = named.replace("--", "-")
    return named.strip("-")[: modelcache.MAX_NAME_LENGTH].strip("-") or "model"


def _going(body: Mapping[str, Any]) -> Ending | None:
    if "deletionTimestamp" not in mapping(body.get("metadata")):
        return None
    return Ending(Exit.UNHEALTHY, f"{_named(view(body, None))} is being deleted")


def _is_seen(body: Mapping[str, Any]) -> bool:
    """Whether the status is of the spec as it is."""
    generation = whole(mapping(body.get("metadata")).get("generation"))
    seen = whole(mapping(body.get("status")).get("observedGeneration"))
    return seen is not None and (generation is None or seen >= generation)


def _failed(cache: CacheView, body: Mapping[str, Any]) -> Ending:
    status = mapping(body.get("status"))
    retry = text(mapping(status.get("attempt")).get("retryAt"))
    again = f" It is tried again at {retry}." if retry else ""
    said = f"{cache.reason}: {cache.message}" if cache.reason else "no reason is told"
    return Ending(Exit.UNHEALTHY, f"{_named(cache)} is {cache.phase}: {said}{again}")


def _node_list(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return mappings(mapping(status.get("nodes")).get("list"))


def _named(cache: CacheView) -> str:
    return f"{cache.namespace}/{cache.name}"
