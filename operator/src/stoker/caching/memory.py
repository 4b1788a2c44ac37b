"""What the status says between two passes, as typed values. What makes no sense counts as absent.

The status is the only memory: whoever writes into it by hand makes the work be done once more, and
nothing worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from stoker.model import reasons
from stoker.model.moment import rfc3339
from stoker.model.plan import Verdict
from stoker.plan.texts import cut

# Of the uid of a node's Job: enough to tell one from the next.
UID_WORDS: Final = 8
_NODE_WORDS: Final = 160
# Words of at most this many nodes are kept, as the whole status stays below 16 KiB.
_WORDY_NODES: Final = 8
_WORDS: Final = 1000
# Names of files that are kept, and characters of each.
_FILES: Final = 8
_FILE_WORDS: Final = 100

# How long to wait after a failure: the first time, and at most. What stands may be put right where
# nobody sees it, in a Secret or at the source; so it is asked for again as well, but rarely.
_PASSES_S: Final = (30.0, 600.0)
_STANDS_S: Final = (300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the source had: the content that is wanted."""

    revision: str
    bytes: int
    files: int
    folder: str
    source: str
    image: str = ""  # by its digest, where the source is an image that a runtime can mount
    image_folder: str = ""  # where the model lies in it; '' for its root
    unmountable: Verdict | None = None  # why it is not mounted, until it is resolved anew


@dataclass(frozen=True, slots=True)
class Content:
    """What was whole last, and where it is."""

    digest: str
    revision: str
    bytes: int
    files: int
    claim: str
    claim_uid: str
    folder: str
    facts: str | None = None
    unread: Verdict | None = None
    image: str | None = None  # that is mounted; then there is no claim


@dataclass(frozen=True, slots=True)
class Attempt:
    """Jobs in a row that failed. Times in Unix seconds."""

    job: str
    uid: str
    attempts: int
    verdict: Verdict
    retry_at: float

    @staticmethod
    def after(
        before: "Attempt | None", job: str, uid: str, verdict: Verdict, *, stands: bool, unix: float
    ) -> "Attempt":
        """One more that failed, and when the next one begins."""
        count = before.attempts + 1 if before is not None and before.job == job else 1
        first, most = _STANDS_S if stands else _PASSES_S
        pause = min(most, first * 2.0 ** min(count - 1, 10))
        return Attempt(job, uid, count, verdict, unix + pause)


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """One node of a cache that is kept per node. Times in Unix seconds."""

    ready: bool = False
    verified_at: float | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it."""

    content: Content | None = None
    resolved: Resolved | None = None
    attempt: Attempt | None = None
    verified_at: float | None = None
    verified: str = ""  # the owner's word that was obeyed last
    repaired: tuple[str, ...] = ()  # files that the last verification found bad
    demands: str = ""
    nodes: Mapping[str, NodeMemory] = field(default_factory=dict)
    nodes_of: str = ""

    @staticmethod
    def read(status: Mapping[str, Any]) -> "Memory":
        """From a status as it was written."""
        return Memory(
            content=_content(status),
            resolved=_resolved(status.get("resolved")),
            attempt=_attempt(status.get("attempt")),
            verified_at=_unix(status.get("lastVerified")),
            verified=str(status.get("verified") or ""),
            repaired=_names(status.get("repaired")),
            demands=str(status.get("demands") or ""),
            nodes=_nodes(status.get("nodes")),
            nodes_of=str((status.get("nodes") or {}).get("of") or ""),
        )

    def write(self) -> dict[str, Any]:
        """As a status keeps it, without the nodes."""
        told: dict[str, Any] = {
            "lastVerified": _time(self.verified_at),
            "verified": self.verified,
            "repaired": [cut(name, _FILE_WORDS) for name in self.repaired[:_FILES]],
            "demands": self.demands,
        }
        if self.resolved is not None:
            told["resolved"] = {
                "revision": self.resolved.revision,
                "bytes": self.resolved.bytes,
                "files": self.resolved.files,
                "folder": self.resolved.folder,
                "source": self.resolved.source,
                "image": self.resolved.image or None,
                "imageFolder": self.resolved.image_folder or None,
                "unmountable": _told(self.resolved.unmountable),
            }
        if self.attempt is not None:
            told["attempt"] = {
                "job": self.attempt.job,
                "uid": self.attempt.uid,
                "attempts": self.attempt.attempts,
                "reason": self.attempt.verdict.reason,
                "message": cut(self.attempt.verdict.message, _WORDS),
                "retryAt": _time(self.attempt.retry_at),
            }
        content = self.content
        if content is not None:
            told |= {
                "digest": content.digest,
                "revision": content.revision,
                "bytes": content.bytes,
                "files": content.files,
                "claim": content.claim or None,
                "claimUid": content.claim_uid or None,
                "folder": content.folder,
                "image": content.image,
                "facts": content.facts,
                "unread": _told(content.unread),
            }
        return told

    def write_nodes(self) -> list[dict[str, Any]]:
        """Each node as a status keeps it."""
        told = []
        wordy = 0
        for name, node in sorted(self.nodes.items()):
            entry: dict[str, Any] = {"name": name, "ready": node.ready}
            if node.verified_at is not None:
                entry["verified"] = round(node.verified_at)
            if node.attempt is not None:
                entry |= {
                    "uid": node.attempt.uid[:UID_WORDS],
                    "attempts": node.attempt.attempts,
                    "retryAt": _time(node.attempt.retry_at),
                }
                if wordy < _WORDY_NODES:
                    entry["reason"] = node.attempt.verdict.reason
                    entry["message"] = cut(node.attempt.verdict.message, _NODE_WORDS)
                    wordy += 1
            told.append(entry)
        return told

    def with_node(self, name: str, node: NodeMemory) -> "Memory":
        """With another memory of one node."""
        return replace(self, nodes={**self.nodes, name: node})


def _told(verdict: Verdict | None) -> dict[str, str] | None:
    if verdict is None:
        return None
    return {"reason": verdict.reason, "message": cut(verdict.message, _WORDS)}


def _verdict(told: Any) -> Verdict | None:  # noqa: ANN401 - whatever the status has
    return Verdict(str(told["reason"]), str(told["message"])) if told else None


def _names(told: Any) -> tuple[str, ...]:  # noqa: ANN401 - whatever the status has
    if not isinstance(told, list):
        return ()
    return tuple(each for each in told if isinstance(each, str))


def _content(status: Mapping[str, Any]) -> Content | None:
    image = status.get("image")
    try:
        return Content(
            digest=str(status["digest"]),
            revision=str(status["revision"]),
            bytes=int(status["bytes"]),
            files=int(status["files"]),
            claim="" if image else str(status["claim"]),
            claim_uid="" if image else str(status["claimUid"]),
            folder=str(status.get("folder") or "") if image else str(status["folder"]),
            facts=status.get("facts"),
            unread=_verdict(status.get("unread")),
            image=str(image) if image else None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _resolved(told: Any) -> Resolved | None:  # noqa: ANN401 - whatever the status has
    try:
        return Resolved(
            revision=str(told["revision"]),
            bytes=int(told["bytes"]),
            files=int(told["files"]),
            folder=str(told["folder"]),
            source=str(told["source"]),
            image=str(told.get("image") or ""),
            image_folder=str(told.get("imageFolder") or ""),
            unmountable=_verdict(told.get("unmountable")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _attempt(told: Any, job: str | None = None) -> Attempt | None:  # noqa: ANN401 - as above
    try:
        return Attempt(
            job=str(told["job"]) if job is None else job,
            uid=str(told["uid"]),
            attempts=int(told["attempts"]),
            verdict=Verdict(
                str(told.get("reason") or reasons.JOB_FAILED), str(told.get("message") or "")
            ),
            retry_at=_unix(told["retryAt"]) or 0.0,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _nodes(told: Any) -> dict[str, NodeMemory]:  # noqa: ANN401 - as above
    found = {}
    for entry in (told or {}).get("list") or ():
        try:
            verified = entry.get("verified")
            found[str(entry["name"])] = NodeMemory(
                ready=bool(entry["ready"]),
                verified_at=None if verified is None else float(verified),
                # A node has one job at a time, and a name of it says nothing.
                attempt=_attempt(entry, job=""),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found


def _unix(text: object) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def _time(unix: float | None) -> str | None:
    return None if unix is None else rfc3339(unix)
