"""The status of an `InferenceService`: what Stoker did and sees, written by one writer.

It never carries live samples: `load` is the load behind the last decision. Nothing here has a
default, so that a status says no more than what was observed.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from stoker.api.fields import Resource, keyed_by, no_duplicates

_TIME: Final[dict[str, Any]] = {"format": "date-time"}


class Condition(Resource):
    """One observation about the service, as in meta/v1."""

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
    """The last change of the wanted number of replicas."""

    from_: int = Field(alias="from", description="Replicas before.")
    to: int = Field(description="Replicas after.")
    reason: str = Field(description="Why, one CamelCase word.")
    message: str = Field(description="Why, in words and numbers.")
    time: str = Field(description="When.", json_schema_extra=_TIME)


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
    model: str | None = Field(default=None, description="The name that clients send.")
    plan: str | None = Field(default=None, description="What runs, in one line.")
    revision: str | None = Field(default=None, description="The revision that the spec asks for.")
    revisions: list[RevisionStatus] = Field(
        default_factory=list, description="Revisions that still have replicas, newest first."
    )
    load: LoadStatus | None = None
    last_scale: LastScale | None = None
    conditions: Annotated[list[Condition], no_duplicates(lambda condition: condition.type)] = Field(
        default_factory=list,
        description="Ready, Progressing, Schedulable, ScalingActive and others.",
        json_schema_extra=keyed_by("type"),
    )
