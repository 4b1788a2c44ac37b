"""What a cache may ask for, by the administrator's lists. First refusal wins."""

from collections.abc import Callable
from typing import Final

from stoker.api.modelcache import ModelCacheSpec
from stoker.model import reasons
from stoker.model.cache import CacheObject, CachePlatform
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.plan import admission
from stoker.quantity import parse_quantity


def refuse(cache: CacheObject, caches: CachePlatform, platform: Platform) -> Verdict | None:
    """Why nothing is done for this cache; None where everything may be."""
    if cache.spec is None:
        return Verdict(
            reasons.INVALID_SPEC,
            f"The spec cannot be read: {cache.spec_error or 'no reason given'}",
        )
    for check in _CHECKS:
        verdict = check(cache.spec, caches)
        if verdict is not None:
            return verdict
    return admission.refuse_template(cache.spec.template, platform)


def _scheme(spec: ModelCacheSpec, caches: CachePlatform) -> Verdict | None:
    scheme = spec.model.uri.partition("://")[0]
    if scheme in caches.schemes:
        return None
    allowed = ", ".join(f"{each}://" for each in sorted(caches.schemes)) or "none"
    return Verdict(
        reasons.SOURCE_NOT_OFFERED,
        f"model.uri: {scheme}:// is not allowed here; the administrator allows {allowed}.",
    )


def _sizes(spec: ModelCacheSpec, caches: CachePlatform) -> Verdict | None:
    del caches
    pvc = spec.storage.pvc if spec.storage is not None else None
    given = {
        "budget.bandwidth": spec.budget.bandwidth,
        "budget.maxSize": spec.budget.max_size,
        "storage.pvc.size": None if pvc is None else pvc.size,
    }
    for field, text in given.items():
        if text is not None and parse_quantity(text) < 1:
            return Verdict(
                reasons.VALUE_OUT_OF_RANGE,
                f"{field}: {text} is less than a byte; write for example 100Mi, or remove it.",
            )
    return None


_CHECKS: Final[tuple[Callable[[ModelCacheSpec, CachePlatform], Verdict | None], ...]] = (
    _scheme,
    _sizes,
)
