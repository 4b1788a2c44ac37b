"""The status of an `InferenceService`: what Stoker did and sees, written by one writer.

It never carries live samples: `load` is the load behind the last decision. Nothing here has a
default, so that a status says no more than what was observed.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from stoker.api.fields import ATOMIC, Resource, keyed_by, no_duplicates

_TIME: Final[dict[str, Any]] = {"format": "date-time"}


class Condition(Resource):
    """One observation about the object, as in meta/v1."""

    type: str = Field(description="What is judged, for example Ready.", max_length=316)
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(description="Why, one CamelCase word for programs.", max_length=1024)
    message: str = Field(description="Why, and what to do, for people.", max_length=32_768)
    last_transition_time: str = Field(
        description="When status last changed.", json_schema_extra=_TIME
    )
    observed_generation: int = Field(description="The generation of the spec that was judged.")


class RevisionStatus(Resource):
    """One revision of the service and its replicas."""

    name: str = Field(description="The revision's hash.")
    wanted: int = Field(description="Replicas that this revision should have.")
    ready: int = Field(description="Replicas that answer.")


class LoadStatus(Resource):
    """The load behind the last scaling decision; not a feed."""

    held: int = Field(description="Requests held at the frontend.")
    waiting: int = Field(description="Requests waiting in the engines.")
    running: int = Field(description="Requests being computed.")
    time: str = Field(description="When this was measured.", json_schema_extra=_TIME)


class LastScale(Resource):
    """One change of the wanted number of replicas."""

    from_: int = Field(alias="from", description="Replicas before.")
    to: int = Field(description="Replicas after.")
    reason: str = Field(description="Why, one CamelCase word.")
    message: str = Field(description="Why, in words and numbers; the end may be cut off.")
    time: str = Field(description="When.", json_schema_extra=_TIME)


class TermsStatus(Resource):
    """Replicas that each reason asks for; one that is absent asks for none."""

    places: float | None = Field(
        default=None,
        description="What is in progress, over what a replica computes and may keep waiting.",
    )
    queue: float | None = Field(
        default=None, description="What waits, over what may wait at one replica."
    )
    arrivals: float | None = Field(
        default=None,
        description="Requests per second, times the seconds that one takes of a replica, over how "
        "busy a replica may be.",
    )
    backlog: float | None = Field(
        default=None,
        description="Arrivals, and the work of the queue, to be done within a short while.",
    )
    concurrency: float | None = Field(
        default=None, description="What is in progress, over target.concurrency."
    )
    kv_cache: float | None = Field(
        default=None, description="The KV cache in use, over target.kvCache."
    )
    ttft: float | None = Field(
        default=None,
        description="What is in progress, over what a replica may have to keep target.ttft.",
    )
    itl: float | None = Field(default=None, description="The same for target.itl.")
    progress: float | None = Field(default=None, description="One, for any request at all.")
    forecast: float | None = Field(
        default=None,
        description="What is expected within the time of a start; no part of the need.",
    )


class ScalingStatus(Resource):
    """Why the number of replicas was what it was when `load` was measured; not a feed."""

    reason: str = Field(description="The verdict, one CamelCase word.")
    message: str = Field(description="The verdict, in words and numbers; the end may be cut off.")
    need: int = Field(description="Replicas that the load needed: the most of any term.")
    terms: TermsStatus | None = Field(
        default=None, description="What asked for them; absent where nothing did."
    )
    places: int = Field(description="Requests that one replica computes at once.")
    request_seconds: float | None = Field(
        default=None,
        description="Seconds of one replica for one request; absent where no pace is known.",
    )
    limit: str | None = Field(
        default=None,
        description="What made the number another one than what the load asked for: Floor or "
        "Ceiling (minReplicas, maxReplicas, or what reason names), AddedStays, Observing, "
        "Stabilization or Starting; absent where nothing did.",
    )
    fewer_not_before: str | None = Field(
        default=None,
        description="Before this no replica goes, however little comes, unless the bounds change.",
        json_schema_extra=_TIME,
    )


class StartupStatus(Resource):
    """How long replicas take to start: means of the last few, in seconds."""

    accelerator: str = Field(description="The type that they were measured on.")
    node_seconds: float = Field(description="From being asked for to a node.")
    image_seconds: float = Field(description="From there until the engine's container runs.")
    load_seconds: float = Field(description="From there to ready: weights, compilation, warm-up.")
    starts: int = Field(description="Starts that were measured.")
    newest: int = Field(description="When the last one of them began, in Unix seconds.")


class CapacityStatus(Resource):
    """An accelerator type that brought no node in time, and when it is asked for again."""

    accelerator: str = Field(description="Its name.")
    granted: int = Field(description="Replicas that had a node when the others were withdrawn.")
    since: str = Field(
        description="When the first of those that got none was asked for.", json_schema_extra=_TIME
    )
    retry_at: str = Field(description="When it is asked for again.", json_schema_extra=_TIME)
    attempts: int = Field(description="Attempts in a row that did not bring all.")


class CostStatus(Resource):
    """What the replicas that are on a node cost now, by the catalogue; not a feed."""

    per_hour: str = Field(description="For an hour.")
    per_day: str = Field(description="For a day at this price.")
    currency: str = Field(description="USD: what the catalogue's prices are in.")


class Estimate(Resource):
    """What is expected, and how far off it may be."""

    low: str = Field(description="The least that is likely.")
    typical: str = Field(description="The most likely value.")
    high: str = Field(description="The most that is likely.")


class ExpectedStatus(Resource):
    """How fast and how dear one replica is, at the planned load."""

    concurrency: int | None = Field(
        default=None, description="Requests at once that the numbers are for."
    )
    ttft: Estimate | None = None
    itl: Estimate | None = None
    tokens_per_second: Estimate | None = None
    cost_per_million_tokens: Estimate | None = None
    price_per_hour: str | None = Field(
        default=None, description="US dollars for one replica; absent where no price is known."
    )


class TechniqueStatus(Resource):
    """One technique and what became of it."""

    name: str = Field(description="Its name, as in the documentation of techniques.")
    state: Literal["on", "off", "refused"] = Field(description="on, off or refused.")
    reason: str = Field(description="Why, one CamelCase word.")
    why: str = Field(description="Why, with the number that decided.")


class AlternativeStatus(Resource):
    """Another way to run the service."""

    change: str = Field(description="What to write to get it.")
    concurrency: int | None = Field(
        default=None, description="Conversations of the workload that fit at once."
    )
    price_per_hour: str | None = Field(
        default=None, description="US dollars for one replica; absent where no price is known."
    )


class OfferStatus(Resource):
    """A better plan than the one that runs; taken by the annotation stoker.dev/accept-plan."""

    id: str = Field(description="What the annotation must say to accept this offer and no other.")
    summary: str = Field(description="What would run, in one line.")
    saves: str = Field(description="What it would change, in numbers.")


class ProposalStatus(Resource):
    """A change that would suit the requests that came; Stoker does not make it."""

    reason: str = Field(
        description="PlacesFull, CacheFull or PlacesIdle: what engines lacked, or never used."
    )
    change: str = Field(description="The field to write, and its value.")
    why: str = Field(description="What was seen, and what it costs; the end may be cut off.")
    gain: str = Field(description="What the planner expects of it for a full replica.")


class InputsStatus(Resource):
    """What the plan was made from; a change of these makes a new one."""

    spec: str = Field(description="Digest of the fields that are planned with.")
    model: str = Field(description="Digest of the model.")
    planner: str | None = Field(default=None, description="Version of the planner, to look up.")
    nodes: str | None = Field(
        default=None,
        description="The most accelerators of one node by type when the plan was made (0: no node, "
        "-1: the model's volume cannot be reached), as Stoker reads it again.",
    )


class ResidualStatus(Resource):
    """The plan compared with what the engine reports of itself."""

    kv_tokens_predicted: int = Field(description="Tokens that the KV cache should hold.")
    kv_tokens_reported: int = Field(description="Tokens that it holds.")


class WayStatus(Resource):
    """Factors, observed over estimated, of one way to run the service; absent where unknown."""

    accelerator: str = Field(description="Name from the GPU catalogue.")
    parallelism: str = Field(description="Tensor x pipeline x data parallel sizes.")
    quantization: str = Field(description="Type of the weights.")
    kv_cache_dtype: str = Field(description="Type of the KV cache.")
    kv: float | None = Field(default=None, description="Of the KV cache.")
    ttft: float | None = Field(default=None, description="Of the time to the first token.")
    itl: float | None = Field(default=None, description="Of the time per token.")
    note: str | None = Field(default=None, description="What of it is not to be taken literally.")


class MeasuredStatus(Resource):
    """What engines of the service have taught; the next plan is corrected by it."""

    engine: str = Field(description="Version of the engine that it holds for.")
    model: str = Field(description="Digest of the model that it holds for.")
    planner: str = Field(description="Version of the planner whose estimates are corrected.")
    ways: list[WayStatus] = Field(
        description="By way to run it, the last one that ran first.", json_schema_extra=ATOMIC
    )


class PlanStatus(Resource):
    """What runs and why. It stays until the spec or the model changes, or a better one is taken."""

    summary: str = Field(description="What runs, in one line.")
    accelerator: str | None = Field(default=None, description="Name from the GPU catalogue.")
    per_replica: int | None = Field(default=None, description="Accelerators of one replica.")
    tensor: int | None = Field(default=None, description="Tensor parallel size.")
    pipeline: int | None = Field(default=None, description="Pipeline parallel size.")
    data: int | None = Field(default=None, description="Data parallel size.")
    weights_gib: float | None = Field(
        default=None, alias="weightsGiB", description="Weights on one accelerator, in GiB."
    )
    kv_cache_gib: float | None = Field(
        default=None, alias="kvCacheGiB", description="KV cache on one accelerator, in GiB."
    )
    kv_cache_tokens: int | None = Field(
        default=None, description="Tokens that the KV cache of a replica holds."
    )
    max_model_len: int | None = Field(default=None, description="Prompt plus answer, in tokens.")
    max_num_seqs: int | None = Field(
        default=None, description="Requests that are computed at once."
    )
    concurrency: int | None = Field(
        default=None, description="Conversations of the workload that fit at once."
    )
    techniques: Annotated[list[TechniqueStatus], no_duplicates(lambda each: each.name)] = Field(
        default_factory=list,
        description="Each technique, whether it is used, and why.",
        json_schema_extra=keyed_by("name"),
    )
    expected: ExpectedStatus | None = None
    alternatives: list[AlternativeStatus] = Field(
        default_factory=list,
        description="Other ways to run the service, the best first.",
        json_schema_extra=ATOMIC,
    )
    configuration: str | None = Field(
        default=None, description="The planned configuration, as Stoker reads it again."
    )
    pace: str | None = Field(
        default=None,
        description="What one request takes of one replica, in seconds and places, as Stoker's "
        "autoscaler reads it again.",
    )
    revision: str | None = Field(
        default=None, description="What the plan adds to the name of the service's revision."
    )
    inputs: InputsStatus | None = None
    offer: OfferStatus | None = None
    proposals: list[ProposalStatus] = Field(
        default_factory=list,
        description="Changes that engines at work ask for, two at most; nothing applies them.",
        json_schema_extra=ATOMIC,
    )
    accepted: str | None = Field(
        default=None, description="The offer that was accepted to get this plan."
    )
    residual: ResidualStatus | None = None
    measured: MeasuredStatus | None = None


class ModelStatus(Resource):
    """What is known of the model."""

    name: str = Field(description="The name that clients send.")
    architecture: str | None = Field(default=None, description="Its architecture.")
    parameters: int | None = Field(default=None, description="Number of its parameters.")
    bytes: int | None = Field(default=None, description="Size of its weights in the files.")
    digest: str | None = Field(
        default=None, description="Digest of its configuration and of the headers of its weights."
    )
    source: str | None = Field(
        default=None, description="Claim, by uid, and folder that the facts were read from."
    )
    claim: str | None = Field(default=None, description="The claim, where it is a ModelCache's.")
    cache: str | None = Field(default=None, description="The ModelCache that it comes from.")
    revision: str | None = Field(
        default=None, description="The pinned revision, where it comes from a ModelCache."
    )
    reread: str | None = Field(
        default=None,
        description="Value of the annotation stoker.dev/reread-model that it was read for last.",
    )
    facts: str | None = Field(
        default=None, description="All that the planner knows of it, as Stoker reads it again."
    )


class InferenceServiceStatus(Resource):
    """What Stoker did and sees."""

    observed_generation: int | None = Field(
        default=None, description="The last spec that was judged."
    )
    replicas: int | None = Field(default=None, description="Engine replicas that exist.")
    ready_replicas: int | None = Field(default=None, description="Engine replicas that answer.")
    desired_replicas: int | None = Field(
        default=None, description="Engine replicas that are wanted."
    )
    queue_depth: int | None = Field(
        default=None, description="Waiting requests behind the last decision: held plus waiting."
    )
    selector: str | None = Field(default=None, description="Label selector of the engine pods.")
    address: str | None = Field(
        default=None, description="Where clients send requests, in the cluster."
    )
    model: ModelStatus | None = None
    plan: PlanStatus | None = None
    revision: str | None = Field(default=None, description="The revision that the spec asks for.")
    revisions: list[RevisionStatus] = Field(
        default_factory=list, description="Revisions that still have replicas, newest first."
    )
    load: LoadStatus | None = None
    scaling: ScalingStatus | None = None
    last_scale: LastScale | None = Field(
        default=None, description="The last change of the wanted number of replicas."
    )
    earlier_scales: list[LastScale] = Field(
        default_factory=list,
        description="The changes before the last one, newest first: four at most, their words cut.",
        json_schema_extra=ATOMIC,
    )
    startup: StartupStatus | None = None
    cost: CostStatus | None = None
    capacity: Annotated[list[CapacityStatus], no_duplicates(lambda each: each.accelerator)] = Field(
        default_factory=list,
        description="Accelerator types that brought no node in time.",
        json_schema_extra=keyed_by("accelerator"),
    )
    conditions: Annotated[list[Condition], no_duplicates(lambda condition: condition.type)] = Field(
        default_factory=list,
        description="Ready, Planned, Progressing, Schedulable, ScalingActive and others.",
        json_schema_extra=keyed_by("type"),
    )
