"""Where a model lies for one pass: a folder in a claim of the service's namespace, or in an image.

    pvc://CLAIM/FOLDER ──► as it is written
    an image           ──► by its digest, mounted by the runtime: there is no claim
    a ModelCache       ──► the last content of it that was whole, as its status has it
                           else what the service ran with last, while that claim is still the same
                           else nowhere: nothing new starts until the cache has it

So whatever becomes of a cache, a service that had a model keeps starting replicas with it. Folders
of caches are named by source and revision: another content is another folder, and with it another
revision of the service.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.plan import Verdict

_SCHEME: Final = "pvc://"
IMAGE_LIMIT: Final = 160  # characters
_IMAGE: Final = re.compile(r"([^@]+@sha256:[0-9a-f]{64})/(.*)")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model lies, and what a cache says of it."""

    claim: str  # '' for an image
    folder: str  # below the root of the claim or image, '' for the root itself
    cache: str | None = None  # name of the ModelCache; None for the user's own folder
    claim_uid: str | None = None  # of the claim that was meant; None: whichever has that name
    revision: str | None = None  # pinned
    facts: str | None = None  # JSON, as the cache's status has them
    unread: Verdict | None = None  # why the cache could not read any
    # Nodes that hold it already carry this label; None where the volume is the same everywhere.
    node_label: str | None = None
    # Whether engines may keep what they compile beside it; never for the user's own folder.
    writable: bool = False
    image: str = ""  # reference by digest
    pull_secret: str | None = None  # for that image

    @property
    def root(self) -> str:
        """What holds it: a claim's name, or an image."""
        return self.image or self.claim


@dataclass(frozen=True, slots=True)
class UsedCache:
    """What a service sees of the ModelCache that its model comes from."""

    name: str
    exists: bool
    # The service's own pass makes it where it does not exist.
    implicit: bool = False
    content: Location | None = None  # the last one that was whole
    progressing: bool = False  # whether it is on its way to what is wanted
    # Why it does not have what is wanted; None while it does.
    problem: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """Why there is nothing to start with, in the cache's own words."""
        if self.problem is not None:
            return Verdict(
                self.problem.reason,
                f"ModelCache {self.name}: {self.problem.reason}: {self.problem.message}",
            )
        if self.content is not None:
            return Verdict(
                reasons.CACHE_PENDING,
                f"ModelCache {self.name}: claim {self.content.claim} is not there, or was made "
                "anew and is not filled yet.",
            )
        return Verdict(
            reasons.CACHE_PENDING, f"ModelCache {self.name} was just made: it has no model yet."
        )


def location_of(uri: str) -> tuple[str, str]:
    """The claim that holds the model, and the folder in it ('' for its root)."""
    claim, _, folder = uri.removeprefix(_SCHEME).partition("/")
    return claim, folder.strip("/")


def source_of(claim_uid: str, folder: str) -> str:
    """Names one folder of one claim for good: a claim made anew under the same name is another.

    Of an image the reference stands in the uid's place, as it names its content; one that is too
    long for a status is told by its hash, and can then not be found without its cache.
    """
    text = f"{claim_uid}/{folder}"
    if _IMAGE.fullmatch(text) and len(text) > IMAGE_LIMIT:
        return f"image:{hashlib.sha256(text.encode()).hexdigest()}"
    return text


def _read_source(source: str) -> tuple[str, str, str]:
    """The uid of a claim or '', an image or '', and the folder."""
    found = _IMAGE.fullmatch(source)
    if found is not None:
        return "", found[1], found[2] or ""
    uid, _, folder = source.partition("/")
    return uid, "", folder


def locate(
    spec: InferenceServiceSpec, cache: UsedCache | None, status: Mapping[str, Any]
) -> Location | None:
    """Where the model lies, before anybody has looked at the claim; None: nowhere yet."""
    if spec.model.claim_uri is not None:
        return Location(*location_of(spec.model.claim_uri))
    if cache is None:
        return None
    return cache.content or _last(cache, status)


def confirmed(location: Location | None, uids: Mapping[str, str]) -> Location | None:
    """The same, unless the claim that was meant is not there any more, or another has its name."""
    if location is None or location.claim_uid is None:
        return location
    return location if uids.get(location.claim) == location.claim_uid else None


def _last(cache: UsedCache, status: Mapping[str, Any]) -> Location | None:
    """What the service ran with last, if that was this very cache."""
    told = status.get("model")
    model: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    uid, image, folder = _read_source(str(model.get("source") or ""))
    claim = model.get("claim")
    if model.get("cache") != cache.name or not (image or isinstance(claim, str)):
        return None
    revision = model.get("revision")
    return Location(
        claim="" if image else str(claim),
        folder=folder,
        cache=cache.name,
        claim_uid=uid or None,
        image=image,
        revision=revision if isinstance(revision, str) else None,
    )
