"""Whether an object has to be applied again, so that a settled service writes nothing.

An object is right when it carries the digest of what we want and still holds all of it. The API
server adds defaults, other writers add items of their own to lists that merge by key, quantities
come back in canonical spelling, and empty values are dropped: none of these is a difference.
Lists that are replaced as a whole (rules of a Role, peers of a policy) must match item by item, so
that an item which somebody added is found and taken back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stoker import quantity
from stoker.render import objects

# Lists in which the API server merges the items of several writers.
_MERGED: Final = frozenset(
    {
        "containers",
        "env",
        "imagePullSecrets",
        "initContainers",
        "ownerReferences",
        "ports",
        "volumeMounts",
        "volumes",
    }
)
_QUANTITIES: Final = frozenset({"limits", "requests", "sizeLimit"})


def needs_apply(manifest: Mapping[str, Any], observed: Mapping[str, Any] | None) -> bool:
    """Whether the cluster's copy is missing, made from something else, or changed since."""
    if observed is None:
        return True
    if objects.applied_digest(manifest) != objects.applied_digest(observed):
        return True
    return not holds(observed, manifest)


def holds(observed: object, wanted: object, key: str = "") -> bool:
    """Whether everything that is wanted is in what was observed."""
    if not wanted and not observed:
        return True
    if isinstance(wanted, Mapping):
        if not isinstance(observed, Mapping):
            return False
        inner = key if key in _QUANTITIES else None
        return all(holds(observed.get(k), v, inner or str(k)) for k, v in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(observed, Sequence) and _list_holds(observed, wanted, key)
    if key in _QUANTITIES:
        return _same_quantity(observed, wanted)
    return type(observed) is type(wanted) and observed == wanted


def _list_holds(observed: Sequence[object], wanted: Sequence[object], key: str) -> bool:
    if key in _MERGED:
        return all(any(holds(there, item) for there in observed) for item in wanted)
    return len(observed) == len(wanted) and all(
        holds(there, item) for there, item in zip(observed, wanted, strict=True)
    )


def _same_quantity(observed: object, wanted: object) -> bool:
    try:
        return quantity.parse_quantity(str(observed)) == quantity.parse_quantity(str(wanted))
    except ValueError:
        return str(observed) == str(wanted)
