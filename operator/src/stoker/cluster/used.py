"""Which ModelCache a service uses, and what that cache's status says to it.

`cacheRef` names one. An address stands for the cache of that source and revision: the one that the
service uses already, else one that somebody made for it, else the one that services share, which
the pass makes when it is not there.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stoker import naming
from stoker.api.servedmodel import Model
from stoker.model import reasons
from stoker.model.location import Location, UsedCache
from stoker.model.observed import Key, ObservedService
from stoker.model.plan import Verdict
from stoker_worker.cachecontract import MODELS

Body = Mapping[str, Any]

READY: Final = "Ready"  # the condition, and the phase
_PROGRESSING: Final = frozenset({"Resolving", "Pending", "Fetching", "Verifying"})


def used_cache(service: ObservedService, caches: Iterable[Body]) -> UsedCache | None:
    """The cache of a service's model among those of its namespace; None for a pvc:// model."""
    if service.spec is None or service.spec.model.claim_uri is not None:
        return None
    model = service.spec.model
    named = {str(body["metadata"]["name"]): body for body in caches}
    if model.cache_ref is not None:
        name = model.cache_ref.name
        body = named.get(name)
        return _absent(service.key, name) if body is None else cache_of(body)
    own = _implicit_name(model)
    last = (service.status.get("model") or {}).get("cache")
    same = {name: body for name, body in named.items() if _is_same(body, model)}
    ordered = sorted(same, key=lambda each: _preference(same[each], each))
    chosen = last if last in same else next(iter(ordered), None)
    if chosen is not None:
        return cache_of(same[chosen])
    if own in named and not _is_going(named[own]):
        return UsedCache(own, exists=True, problem=_mismatch(own))
    going = own in named
    return UsedCache(own, exists=going, implicit=True, problem=_GOING if going else None)


def cache_of(body: Body) -> UsedCache:
    """What matters of a ModelCache to those who serve its model."""
    status = body.get("status") or {}
    name = str(body["metadata"]["name"])
    return UsedCache(
        name,
        exists=True,
        content=_content(name, body),
        progressing=status.get("phase") in _PROGRESSING,
        problem=_GOING if _is_going(body) else _problem(status),
    )


def _content(name: str, body: Body) -> Location | None:
    status = body.get("status") or {}
    if status.get("image") and status.get("digest"):
        return _mounted(name, body, status)
    claim, folder = status.get("claim"), status.get("folder")
    if not claim or not folder or not status.get("digest"):
        return None
    return Location(
        claim=str(claim),
        folder=f"{MODELS}/{folder}",
        cache=name,
        claim_uid=_text(status, "claimUid"),
        revision=_text(status, "revision"),
        facts=_text(status, "facts"),
        unread=_unread(status),
        node_label=naming.model_label(str(folder)) if status.get("nodes") else None,
    )


def _mounted(name: str, body: Body, status: Body) -> Location:
    secret = ((body.get("spec") or {}).get("model") or {}).get("secretRef") or {}
    return Location(
        claim="",
        folder=str(status.get("folder") or ""),
        cache=name,
        revision=_text(status, "revision"),
        facts=_text(status, "facts"),
        unread=_unread(status),
        image=str(status["image"]),
        pull_secret=_text(secret, "name"),
    )


def _unread(status: Body) -> Verdict | None:
    unread = status.get("unread")
    return Verdict(str(unread["reason"]), str(unread["message"])) if unread else None


def _problem(status: Body) -> Verdict | None:
    """Why it does not have what is wanted, as its condition says; None while it does."""
    if status.get("phase") == READY:
        return None
    for condition in status.get("conditions") or ():
        if condition.get("type") == READY:
            reason = str(condition.get("reason") or reasons.CACHE_PENDING)
            return Verdict(reason, str(condition.get("message") or ""))
    return None


def _text(status: Body, name: str) -> str | None:
    value = status.get(name)
    return value if isinstance(value, str) and value else None


_GOING: Final = Verdict(reasons.CACHE_DELETED, "it is being deleted.")


def _absent(key: Key, name: str) -> UsedCache:
    verdict = Verdict(
        reasons.CACHE_NOT_FOUND,
        f"there is none of this name in namespace {key.namespace}: create it, or correct "
        "model.cacheRef.",
    )
    return UsedCache(name, exists=False, problem=verdict)


def _mismatch(name: str) -> Verdict:
    return Verdict(
        reasons.CACHE_MISMATCH,
        f"it has the name that services of this source share, and another source: rename it, or "
        f"name the cache that you mean in model.cacheRef ({name} is left alone).",
    )


def _implicit_name(model: Model) -> str:
    secret = None if model.secret_ref is None else model.secret_ref.name
    return naming.implicit_cache(model.fetched_uri or "", model.revision, secret)


def _is_same(body: Body, model: Model) -> bool:
    """Whether a cache is of this source and revision."""
    wanted = (body.get("spec") or {}).get("model") or {}
    uri = wanted.get("uri")
    return (
        isinstance(uri, str)
        and uri.rstrip("/") == (model.fetched_uri or "").rstrip("/")
        and wanted.get("revision") == model.revision
        and not _is_going(body)
        and _may_share(body, model)
    )


def _may_share(body: Body, model: Model) -> bool:
    """Caches that services share are told apart by their Secret too; anybody's own is for all."""
    return not _is_implicit(body) or body["metadata"]["name"] == _implicit_name(model)


def _preference(body: Body, name: str) -> tuple[bool, bool, str]:
    """Somebody's own before a shared one, one that has the model before one that does not."""
    return _is_implicit(body), _content(name, body) is None, name


def _is_implicit(body: Body) -> bool:
    return naming.LABEL_IMPLICIT in (body["metadata"].get("labels") or {})


def _is_going(body: Body) -> bool:
    return "deletionTimestamp" in body["metadata"]
