"""What a user may say about how many replicas there are.

Cron expressions and time zones are only checked for their shape here; what they mean, and whether
two entries of a schedule contradict each other, no rule of a schema can tell: the operator refuses
those (`stoker.plan.admission`). The same holds for a budget, which needs the price of a plan.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stoker.api.fields import ATOMIC, Duration, Resource, Rule, between, cel, matching, rules
from stoker.api.optimization import Money

MinReplicas = Annotated[int, Field(ge=0, le=1000)]
Replicas = Annotated[int, Field(ge=1, le=1000)]
# The rule beside the bound, because API servers cut the bound to a whole number for whole values.
Share = Annotated[
    float,
    Field(ge=0.05, le=1),
    Rule(
        "self >= 0.05", lambda share: share >= 0.05, "must be at least 0.05: write for example 0.8"
    ),
]

Latency = Annotated[Duration, between("1ms", "10m")]
_NO_PERCENTILE = "a latency target needs a percentile: write for example {p90: 800ms}"
# Letters, digits and signs of five fields; what they mean is checked where it is needed.
_CRON_PATTERN = "^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$"
_CRON_HELP = (
    "write five fields with one blank between them: minute, hour, day of the month, month, day of "
    "the week; for example 0 8 * * 1-5"
)
_ZONE_PATTERN = "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*)*$"
_ZONE_HELP = "write a name of the IANA time zone database: for example Asia/Shanghai or UTC"
_BOUNDS = "minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas"
_NOTHING = "an entry of a schedule needs minReplicas or maxReplicas: write at least one of them"
_OUTSIDE = (
    "minReplicas and maxReplicas of an entry must lie between scaling.minReplicas and "
    "scaling.maxReplicas: move the entry's or widen scaling's"
)
_FREE = "must be more than 0: write for example '12.50', or remove budget"


class LatencyTarget(Resource):
    """How long so many of a hundred may take at most."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.p50) || has(self.p90) || has(self.p99)", _NO_PERCENTILE)
        ),
    )

    p50: Latency | None = Field(
        default=None, description="Half of them. 1ms to 10m. Example: 500ms."
    )
    p90: Latency | None = Field(default=None, description="Ninety of a hundred. Example: 800ms.")
    p99: Latency | None = Field(
        default=None, description="Ninety-nine of a hundred; it takes 300 requests to tell."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.p50 is None and self.p90 is None and self.p99 is None:
            raise ValueError(_NO_PERCENTILE)
        return self


class ScalingTarget(Resource):
    """The load that one replica should carry; the target that asks for most replicas decides."""

    queue_depth: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=4,
        description="Waiting requests per replica: held at the frontend plus waiting in the "
        "engine. It holds beside every other target.",
    )
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None,
        description="Requests in progress per replica: held, waiting and computed.",
    )
    kv_cache: Share | None = Field(
        default=None, description="Share of a replica's KV cache in use. Example: 0.8."
    )
    ttft: LatencyTarget | None = Field(
        default=None,
        description="Time to the first token, as the engines measure it: {p90: 800ms}.",
    )
    itl: LatencyTarget | None = Field(
        default=None,
        description="Time between two tokens, as the engines measure it: {p90: 50ms}.",
    )

    @property
    def timed(self) -> bool:
        """Whether a time is a target."""
        return self.ttft is not None or self.itl is not None


class ScheduleEntry(Resource):
    """Other bounds during a window that comes again and again."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.minReplicas) || has(self.maxReplicas)", _NOTHING),
            cel(
                "!has(self.minReplicas) || !has(self.maxReplicas) || "
                "self.minReplicas <= self.maxReplicas",
                _BOUNDS,
                field_path=".minReplicas",
            ),
        ),
    )

    cron: Annotated[str, Field(max_length=64), matching(_CRON_PATTERN, _CRON_HELP)] = Field(
        description="When the window begins: minute, hour, day of the month, month, day of the "
        "week. Example: 0 8 * * 1-5.",
    )
    duration: Annotated[Duration, between("1m", "168h")] = Field(
        description="How long it lasts. 1m to 168h. Example: 10h.",
    )
    time_zone: Annotated[str, Field(max_length=64), matching(_ZONE_PATTERN, _ZONE_HELP)] = Field(
        default="UTC", description="Whose clock cron follows. Example: Asia/Shanghai."
    )
    min_replicas: Replicas | None = Field(
        default=None,
        description="Never fewer replicas than this within the window. They are asked for one "
        "start earlier, so that they answer when it begins.",
    )
    max_replicas: Replicas | None = Field(
        default=None, description="Never more replicas than this within the window."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_replicas is None and self.max_replicas is None:
            raise ValueError(_NOTHING)
        if None not in (self.min_replicas, self.max_replicas) and (
            (self.min_replicas or 0) > (self.max_replicas or 0)
        ):
            raise ValueError(_BOUNDS)
        return self


class Budget(Resource):
    """What the replicas together may cost."""

    max_per_hour: Annotated[
        Money, Rule("double(self) > 0.0", lambda text: float(text) > 0, _FREE)
    ] = Field(
        description="US dollars per hour, by the plan's price of one replica. Example: '12.50'.",
    )


class ScalingPolicy(Resource):
    """So much change within so long a time, as in autoscaling/v2."""

    type: Literal["Pods", "Percent"] = Field(
        description="Pods counts replicas, Percent a share of those at the period's beginning."
    )
    value: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="How many of them may come, or go."
    )
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = Field(
        description="Within how many seconds. 1 to 1800."
    )


class ScalingRules(Resource):
    """How fast the number may change in one direction."""

    policies: list[ScalingPolicy] = Field(
        default_factory=list,
        description="Bounds of the change; none: any change.",
        max_length=8,
        json_schema_extra=ATOMIC,
    )
    select_policy: Literal["Max", "Min", "Disabled"] = Field(
        default="Max",
        description="Which of them holds: Max lets the most change through, Min the least, "
        "Disabled none but what bounds, schedule and budget ask for.",
    )


class Behavior(Resource):
    """How fast the number may change, as in autoscaling/v2, without its windows.

    scaleDownStabilization is the window of the way down; the way up has none, as Stoker adds
    nothing for what is over soon.
    """

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class Scaling(Resource):
    """Scale by load. While this is present, the number of replicas belongs to Stoker."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel("self.minReplicas <= self.maxReplicas", _BOUNDS, field_path=".minReplicas"),
            cel(
                "!has(self.schedule) || self.schedule.all(each, "
                "(!has(each.minReplicas) || (each.minReplicas >= self.minReplicas && "
                "each.minReplicas <= self.maxReplicas)) && "
                "(!has(each.maxReplicas) || (each.maxReplicas >= self.minReplicas && "
                "each.maxReplicas <= self.maxReplicas)))",
                _OUTSIDE,
                field_path=".schedule",
            ),
        ),
    )

    min_replicas: MinReplicas = Field(
        default=1, description="Never fewer replicas than this; 0 lets an idle service go to zero."
    )
    max_replicas: Replicas = Field(description="Never more replicas than this.")
    target: ScalingTarget = Field(default_factory=ScalingTarget)
    scale_to_zero_after: Annotated[Duration, between("10s", "24h")] | None = Field(
        default=None,
        description=(
            "How long a service must be idle before its last replica goes, where minReplicas is 0. "
            "10s to 24h. Example: 10m. Learned from the service's own silences when absent."
        ),
    )
    scale_down_stabilization: Annotated[Duration, between("0s", "1h")] | None = Field(
        default=None,
        description=(
            "Fewer replicas only after the load asked for fewer during all this time. 0s to 1h. "
            "Example: 5m. Learned from the service's own traffic when absent."
        ),
    )
    schedule: list[ScheduleEntry] = Field(
        default_factory=list,
        description="Windows with bounds of their own. Two that ask for different things at the "
        "same moment are refused.",
        max_length=8,
        json_schema_extra=ATOMIC,
    )
    budget: Budget | None = None
    behavior: Behavior | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.min_replicas, self.max_replicas
        if low > high:
            raise ValueError(_BOUNDS)
        for each in self.schedule:
            given = (each.min_replicas, each.max_replicas)
            if not all(count is None or low <= count <= high for count in given):
                raise ValueError(_OUTSIDE)
        return self
