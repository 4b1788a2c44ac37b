"""The status of a `ModelCache`: what is on the volume, what is on its way, and what went wrong.

`digest`, `revision`, `bytes`, `files`, `size`, `claim`, `folder` and `facts` belong together: they
tell of the last content that was whole, whatever happens now. `resolved` is the content that is
wanted. A few fields are Stoker's own notes between two passes, so that another process goes on
where this one stopped. Nothing here has a default.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from stoker.api.fields import ATOMIC, Resource, keyed_by, no_duplicates
from stoker.api.status import Condition

_TIME: Final[dict[str, Any]] = {"format": "date-time"}

Phase = Literal["Resolving", "Pending", "Fetching", "Verifying", "Ready", "Degraded", "Failed"]


class UnmountableStatus(Resource):
    """Why the image cannot be mounted; another value of stoker.dev/resolve-again asks anew."""

    reason: str = Field(description="Why, one CamelCase word.")
    message: str = Field(description="Why, and what to do.")


class ResolvedStatus(Resource):
    """What the source had when it was asked: the content that is wanted."""

    revision: str = Field(description="Pinned: a commit, a version or a digest.")
    bytes: int = Field(description="Size of the files that are kept.")
    files: int = Field(description="Number of those files.")
    folder: str = Field(description="Where it belongs on the volume, below models/.")
    source: str = Field(
        description="Digest of the address and of what asked for it to be resolved."
    )
    image: str | None = Field(
        default=None, description="The image by its digest, where the source is one."
    )
    image_folder: str | None = Field(
        default=None, description="Where the model lies in the image; absent: at its root."
    )
    unmountable: UnmountableStatus | None = None


class ProgressStatus(Resource):
    """Where the running job is, every few seconds; absent while none runs."""

    percent: int = Field(description="How much of the model is on the volume and good.")
    shown: str = Field(description="The same with its sign, for kubectl get.")
    downloaded: int = Field(description="Bytes on the volume that are good.")
    speed: str | None = Field(default=None, description="For example 112 MiB/s.")
    remaining: str | None = Field(default=None, description="For example 2m10s.")


class NodeStatus(Resource):
    """One node that is to hold the model."""

    name: str = Field(description="Its name.")
    ready: bool = Field(description="Whether it holds the content that is wanted.")
    uid: str | None = Field(
        default=None, description="First characters of the uid of its last Job that failed."
    )
    verified: int | None = Field(
        default=None, description="When it was fetched or verified last, in Unix seconds."
    )
    reason: str | None = Field(default=None, description="Why not, one CamelCase word.")
    message: str | None = Field(default=None, description="Why not; the end may be cut off.")
    attempts: int | None = Field(default=None, description="Jobs in a row that failed.")
    retry_at: str | None = Field(
        default=None, description="When the next one begins.", json_schema_extra=_TIME
    )


class NodesStatus(Resource):
    """The nodes of a cache that is kept per node."""

    ready: int = Field(description="Nodes that hold the content that is wanted.")
    wanted: int = Field(description="Nodes that are selected and exist.")
    of: str = Field(description="Digest of the content that they are to hold.")
    shown: str = Field(description="Both, for kubectl get.")
    list_: Annotated[list[NodeStatus], no_duplicates(lambda each: each.name)] = Field(
        alias="list",
        default_factory=list,
        description="Each node; a long list is cut.",
        json_schema_extra=keyed_by("name"),
    )


class UnreadStatus(Resource):
    """Why the model could not be read for planning; its files are whole all the same."""

    reason: str = Field(description="Why, one CamelCase word.")
    message: str = Field(description="Why, and what to do.")


class AttemptStatus(Resource):
    """Jobs in a row that failed, and when the next one begins."""

    job: str = Field(description="Name of the Job: a digest of what it was told.")
    uid: str = Field(description="Uid of the last one.")
    attempts: int = Field(description="How many.")
    reason: str = Field(description="Why the last one failed, one CamelCase word.")
    message: str = Field(description="Why, and what to do.")
    retry_at: str = Field(description="When the next one begins.", json_schema_extra=_TIME)


class ModelCacheStatus(Resource):
    """What Stoker did and sees."""

    observed_generation: int | None = Field(
        default=None, description="The last spec that was judged."
    )
    phase: Phase | None = Field(
        default=None,
        description=(
            "Resolving, Pending (waits for a volume or a node), Fetching, Verifying, Ready, "
            "Degraded (usable, with something wrong) or Failed."
        ),
    )
    digest: str | None = Field(
        default=None,
        description="sha256 over paths, sizes and digests of the files; of an image its own.",
    )
    revision: str | None = Field(default=None, description="The pinned revision of the files.")
    bytes: int | None = Field(default=None, description="Size of the files.")
    size: str | None = Field(default=None, description="The same for people.")
    files: int | None = Field(default=None, description="Number of the files.")
    image: str | None = Field(
        default=None, description="The image that holds them, where it is mounted and not copied."
    )
    claim: str | None = Field(default=None, description="The claim that holds them.")
    claim_uid: str | None = Field(default=None, description="Its uid.")
    folder: str | None = Field(
        default=None, description="Their folder on the volume, or in the image."
    )
    facts: str | None = Field(
        default=None, description="All that the planner knows of it, as Stoker reads it again."
    )
    unread: UnreadStatus | None = None
    resolved: ResolvedStatus | None = None
    progress: ProgressStatus | None = None
    nodes: NodesStatus | None = None
    last_verified: str | None = Field(
        default=None,
        description="When every byte was last compared with its digest.",
        json_schema_extra=_TIME,
    )
    attempt: AttemptStatus | None = None
    verified: str | None = Field(
        default=None,
        description="Value of the annotation stoker.dev/verify-again that was obeyed last.",
    )
    repaired: list[str] = Field(
        default_factory=list,
        description=(
            "Files that the last verification found bad, put aside and fetched again; a long list "
            "is cut."
        ),
        json_schema_extra=ATOMIC,
    )
    demands: str | None = Field(
        default=None, description="Digest of what the spec demanded of the files."
    )
    conditions: Annotated[list[Condition], no_duplicates(lambda condition: condition.type)] = Field(
        default_factory=list,
        description="Ready, Resolved and Verified.",
        json_schema_extra=keyed_by("type"),
    )
