"""What a job that fills or checks a model cache is told, and what it answers: contract, third part.

The operator renders the job and imports this module; `stoker_worker.fetch` is the job. One look at
the source (`resolve`) pins a revision and counts its bytes before there is a volume; `fetch` fills
the volume or completes what is there; `verify` reads what is there again and repairs what is bad.
`mount` has no volume: the source is an image that the kubelet mounted, and it is looked at.

A volume, as every job and every engine sees it:

    models/NAME-HASH/                  a published model: these very files, only ever replaced whole
    models/NAME-HASH/.stoker.json      its manifest: each file's size, digest and state when hashed
    .stoker/partial/NAME-HASH/         a model on its way; renamed into place once it is whole
    .stoker/quarantine/NAME-HASH/      files that were bad, for people; removed after a while
    .stoker/locks/NAME-HASH            held by the one who writes
    compile/NAME/                      what engines of that model compiled: KEY-SHA256.tar

Fields are only ever added, with a default. Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Mapping

from stoker_worker.contract import CONTRACT_VERSION, ContractError, Termination, TerminationReason

FETCH_COMMAND = ("python3", "-m", "stoker_worker", "fetch")
ENV_FETCH = "STOKER_FETCH_CONFIG"  # the FetchConfig as JSON
FETCH_PORT = 8002
PATH_PROGRESS = "/progress"  # a Progress as JSON; `/metrics` has the same for Prometheus

# Paths in the job's pod.
VOLUME_DIR = "/volume"  # the cache's claim
SOURCE_DIR = "/source"  # the claim of a pvc:// source, or the image of `mount`; read-only
SECRET_DIR = "/var/run/stoker/secret"  # noqa: S105 - a folder; a file for each key of the Secret
CA_FILE = "/etc/stoker/ca/ca.crt"  # the administrator's authorities, beside the usual ones

# Paths on the volume.
MODELS = "models"
STATE = ".stoker"
MANIFEST = ".stoker.json"
COMPILED = "compile"

RESOLVE = "resolve"
FETCH = "fetch"
VERIFY = "verify"
MOUNT = "mount"

# What a failed job exits with: the word of 1 stands until somebody changes something, 2 may pass.
EXIT_STANDS = 1
EXIT_PASSES = 2


class FetchReason:
    """Why a job failed, the reason in its termination message; docs/caches.md explains each."""

    SOURCE_INVALID = "SourceInvalid"  # scheme, shape or digest of the address
    SOURCE_FORBIDDEN = "SourceForbidden"  # the address leads to where no model may come from
    UNAUTHORIZED = "Unauthorized"  # no token, or one without rights
    SOURCE_NOT_FOUND = "SourceNotFound"
    REVISION_NOT_FOUND = "RevisionNotFound"
    RATE_LIMITED = "RateLimited"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_TOO_LARGE = "SourceTooLarge"
    NOT_ENOUGH_DISK = "NotEnoughDisk"
    DIGEST_MISMATCH = (
        "DigestMismatch"  # what the source sends is not what it, or the user, promised
    )
    ARCHIVE_UNSAFE = "ArchiveUnsafe"
    MANIFEST_INVALID = "ManifestInvalid"
    NO_MODEL = "NoModel"  # nothing that an engine could load
    PICKLE_WEIGHTS = TerminationReason.PICKLE_WEIGHTS
    REMOTE_CODE = "RemoteCode"
    IMAGE_NOT_MOUNTED = "ImageNotMounted"  # the pod runs, and the image is not in it
    VOLUME_FAILED = "VolumeFailed"  # the volume cannot be written or read
    CONFIG_INVALID = TerminationReason.CONFIG_INVALID
    INTERRUPTED = "Interrupted"  # somebody asked the job to end; the next one goes on
    INTERNAL = "InternalError"  # a mistake in the job itself


@dataclass(frozen=True)
class FetchConfig:
    """Everything that a job has to know. Sizes in bytes, times in seconds."""

    task: str  # RESOLVE, FETCH, VERIFY or MOUNT
    uri: str  # hf://, s3://, gs://, oci://, https:// or pvc://CLAIM/FOLDER
    revision: str = ""  # as the user wrote it; after `resolve`, what that found
    # Below MODELS, where the model belongs; in the image for `mount`; empty for `resolve`.
    folder: str = ""
    name: str = ""  # NAMESPACE/NAME of the cache, for the manifest and for people
    contract: int = CONTRACT_VERSION
    hub: str = "https://huggingface.co"  # endpoint of hf://
    object_endpoint: str = ""  # of s3://, where the Secret names none
    parallel: int = 8  # connections at once
    bandwidth: int = 0  # bytes per second, 0: no limit
    max_bytes: int = 0  # a larger model is refused before its first byte, 0: no limit
    reserve_bytes: int = 0  # stays free on the volume
    digests: dict[str, str] = field(default_factory=dict)  # file → sha256 that the user demands
    allow_pickle: bool = False
    allow_code: bool = False  # files of Python beside the model
    plain_hosts: list[str] = field(default_factory=list)  # HOST or HOST:PORT allowed without TLS
    private_hosts: bool = True  # whether a source may have an address that is not public
    patience_s: float = 3600.0  # how long to wait for a source that limits or does not answer
    full: bool = False  # `verify`: read every byte, also of files that look untouched
    # Folders below MODELS that somebody on this volume still wants; a published model that says it
    # is not to be kept and is not among them goes.
    live: list[str] = field(default_factory=list)
    # When that list was made, in Unix seconds: what was published later is spared. 0: when the job
    # began.
    live_at: float = 0.0
    keep: bool = False  # the model stays on the volume although nobody wants it
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known before it runs
    port: int = FETCH_PORT

    def to_json(self) -> str:
        """Stable JSON: equal configurations give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> FetchConfig:
        """Parse, ignoring fields of a newer operator; ContractError says what is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ContractError(f"{ENV_FETCH} is not JSON: {error}") from error
        if not isinstance(data, dict) or not {"task", "uri"} <= set(data):
            raise ContractError(f"{ENV_FETCH} must be a JSON object with task and uri")
        if data["task"] not in {RESOLVE, FETCH, VERIFY, MOUNT}:
            raise ContractError(
                f"task must be resolve, fetch, verify or mount, not {data['task']!r}"
            )
        return FetchConfig(**{f.name: data[f.name] for f in fields(FetchConfig) if f.name in data})


@dataclass(frozen=True)
class FetchResult:
    """What a job that ended well leaves as its termination message, under the key `fetch`."""

    task: str
    revision: str  # pinned: a commit, an OCI digest, a version, or a digest over the listing
    bytes: int  # of the files that are, or would be, kept
    files: int
    digest: str = ""  # sha256 over the manifest's paths, sizes and digests; not of `resolve`
    fetched: int = 0  # bytes that were really downloaded
    repaired: tuple[str, ...] = ()  # files that were bad and are good again, eight at most
    seconds: float = 0.0
    facts: Mapping[str, Any] | None = None  # as `facts` prints them
    # Why there are no facts: reason and message of the reader. The model is whole all the same.
    unread: tuple[str, str] | None = None
    # Of `resolve`, where the source is an image: by its digest, and where the model lies in it.
    image: str = ""
    image_folder: str = ""
    unmountable: str = ""  # why an oci:// source cannot be mounted
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """Compact JSON, below what the kubelet keeps."""
        told = {name: value for name, value in asdict(self).items() if value not in (None, (), "")}
        return json.dumps({"fetch": told}, separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> FetchResult | None:
        """Read a termination message; None when it is not one of these."""
        try:
            told = json.loads(text)["fetch"]
            known = {f.name: told[f.name] for f in fields(FetchResult) if f.name in told}
            for name in {"repaired", "unread"} & set(known):
                known[name] = tuple(known[name])
            return FetchResult(**known)
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Progress:
    """Where a job is. Sizes in bytes, speed in bytes per second, times in Unix seconds."""

    task: str
    state: str  # resolving, downloading, verifying, publishing, waiting, done, failed
    uid: str  # of the pod, so that nobody takes it for another that had the same address
    bytes: int = 0  # of the whole model, 0 while it is not known
    done: int = 0  # of those, on the volume and good
    files: int = 0
    files_done: int = 0
    speed: float = 0.0
    remaining_s: float | None = None
    reason: str = ""  # why it waits, one of FetchReason
    message: str = ""
    until: float | None = None  # when it goes on by itself

    def to_json(self) -> str:
        """Compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> Progress | None:
        """Read a page; None when it is not one of these."""
        try:
            told = json.loads(text)
            return Progress(**{f.name: told[f.name] for f in fields(Progress) if f.name in told})
        except (ValueError, TypeError, KeyError):
            return None


def failure(text: str) -> Termination | None:
    """Read the termination message of a job that failed."""
    return Termination.parse(text)
