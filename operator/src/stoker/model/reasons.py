"""Every reason word that Stoker writes: conditions, events, scale decisions, actions.

One file, so that a program that matches on a reason finds all of them, and two places never spell
the same thing differently. A word once released is never reused for something else.
"""

from typing import Final

# Scaling.
FIXED_REPLICAS: Final = "FixedReplicas"
FOLLOWS_QUEUE: Final = "FollowsQueue"
METRICS_MISSING: Final = "MetricsMissing"
METRICS_LOST: Final = "MetricsLost"
METRIC_MISSING: Final = "MetricMissing"
FIRST_REPLICAS: Final = "FirstReplicas"
LOAD_GREW: Final = "LoadGrew"
LOAD_EXPECTED: Final = "LoadExpected"
LOAD_SHRANK: Final = "LoadShrank"
LOAD_STEADY: Final = "LoadSteady"
WAITING_TO_SCALE_DOWN: Final = "WaitingToScaleDown"
REQUEST_ARRIVED: Final = "RequestArrived"
IDLE: Final = "Idle"
WITHIN_BOUNDS: Final = "WithinBounds"
WITHIN_SCHEDULE: Final = "WithinSchedule"
WITHIN_BUDGET: Final = "WithinBudget"
WITHIN_BEHAVIOR: Final = "WithinBehavior"

# Ready.
ALL_READY: Final = "AllReady"
SCALED_TO_ZERO: Final = "ScaledToZero"
OLD_REVISION_SERVES: Final = "OldRevisionServes"
SOME_REPLICAS_READY: Final = "SomeReplicasReady"
FRONTEND_NOT_READY: Final = "FrontendNotReady"
WAITING_FOR_PODS: Final = "WaitingForPods"
WAKING_UP: Final = "WakingUp"

# What the spec asks for cannot be had.
INVALID_SPEC: Final = "InvalidSpec"
NAME_TAKEN: Final = "NameTaken"
NAMES_FREE: Final = "NamesFree"
ENGINE_NOT_OFFERED: Final = "EngineNotOffered"
ACCELERATOR_NOT_OFFERED: Final = "AcceleratorNotOffered"
IMAGE_NOT_ALLOWED: Final = "ImageNotAllowed"
ARGUMENT_NOT_ALLOWED: Final = "ArgumentNotAllowed"
ENVIRONMENT_NOT_ALLOWED: Final = "EnvironmentNotAllowed"
LABEL_NOT_ALLOWED: Final = "LabelNotAllowed"
ANNOTATION_NOT_ALLOWED: Final = "AnnotationNotAllowed"
TOLERATION_NOT_ALLOWED: Final = "TolerationNotAllowed"
PRIORITY_CLASS_NOT_ALLOWED: Final = "PriorityClassNotAllowed"
RUNTIME_CLASS_NOT_ALLOWED: Final = "RuntimeClassNotAllowed"
GROUPS_NOT_OFFERED: Final = "GroupsNotOffered"
GROUP_UNEVEN: Final = "GroupUneven"
SCHEDULE_INVALID: Final = "ScheduleInvalid"
BUDGET_TOO_SMALL: Final = "BudgetTooSmall"
BUDGET_NEEDS_PRICE: Final = "BudgetNeedsPrice"

# What keeps pods from answering.
CLAIM_NOT_FOUND: Final = "ClaimNotFound"
CLAIM_NOT_BOUND: Final = "ClaimNotBound"
IMAGE_PULL_FAILED: Final = "ImagePullFailed"
NO_NODE_FOR_ACCELERATOR: Final = "NoNodeForAccelerator"
UNSCHEDULABLE: Final = "Unschedulable"
SCHEDULED: Final = "Scheduled"
SCHEDULING_GATED: Final = "SchedulingGated"
NO_NODE_CAME: Final = "NoNodeCame"
ON_OTHER_ACCELERATOR: Final = "OnOtherAccelerator"
NOTHING_TO_SCHEDULE: Final = "NothingToSchedule"
OUT_OF_MEMORY: Final = "OutOfMemory"
MODEL_NOT_FOUND: Final = "ModelNotFound"
MODEL_INVALID: Final = "ModelInvalid"
MODEL_CORRUPT: Final = "ModelCorrupt"
PICKLE_WEIGHTS: Final = "PickleWeights"
CONFIG_INVALID: Final = "ConfigInvalid"
ENGINE_CRASHED: Final = "EngineCrashed"
ENGINE_HUNG: Final = "EngineHung"
GROUP_BROKEN: Final = "GroupBroken"
CONTAINER_CANNOT_START: Final = "ContainerCannotStart"
PODS_REFUSED: Final = "PodsRefused"
EVICTED: Final = "Evicted"
START_TIMED_OUT: Final = "StartTimedOut"
WARMUP_FAILED: Final = "WarmupFailed"
MODEL_LOADED: Final = "ModelLoaded"
MODEL_NOT_LOADED: Final = "ModelNotLoaded"
WRITE_REFUSED: Final = "WriteRefused"

# Progressing.
ROLLING_OUT: Final = "RollingOut"
ROLLOUT_BLOCKED: Final = "RolloutBlocked"
SCALING: Final = "Scaling"
SETTLED: Final = "Settled"

# Who else scales.
SCALED_BY_OTHERS: Final = "ScaledByOthers"

# Actions, for the log.
MISSING: Final = "Missing"
CHANGED: Final = "Changed"
DRIFTED: Final = "Drifted"
SERVED: Final = "Served"
DRAINED: Final = "Drained"
UNUSED: Final = "Unused"
UPDATE_PENDING: Final = "UpdatePending"

# Planning: what is known of the model.
READING_MODEL: Final = "ReadingModel"
FACTS_NOT_READ: Final = "FactsNotRead"
FACTS_NOT_ALLOWED: Final = "FactsNotAllowed"

# Planning: whether there is a plan.
HARDWARE_UNKNOWN: Final = "HardwareUnknown"
RUNS_UNPLANNED: Final = "RunsUnplanned"
KV_DTYPE_NOT_HONOURED: Final = "KvDtypeNotHonoured"
BETTER_PLAN: Final = "BetterPlan"
# Planning: what is proposed, and why.
PLACES_FULL: Final = "PlacesFull"
PLACES_IDLE: Final = "PlacesIdle"
CACHE_FULL: Final = "CacheFull"

CONTRADICTION: Final = "Contradiction"

# Planning: what is wrong with the nodes of the planned type.
VOLUME_NOT_ON_NODES: Final = "VolumeNotOnNodes"
DRIVER_TOO_OLD: Final = "DriverTooOld"
LESS_MEMORY_THAN_CATALOGUE: Final = "LessMemoryThanCatalogue"

# Planning: what became of a request.
PLANNED: Final = "Planned"
DOES_NOT_FIT: Final = "DoesNotFit"
TARGET_NOT_REACHABLE: Final = "TargetNotReachable"
NO_ACCELERATOR: Final = "NoAccelerator"
ACCELERATOR_UNKNOWN: Final = "AcceleratorUnknown"
VALUE_OUT_OF_RANGE: Final = "ValueOutOfRange"
CONTEXT_BEYOND_MODEL: Final = "ContextBeyondModel"
HEADS_NOT_DIVISIBLE: Final = "HeadsNotDivisible"
GROUPS_NOT_DIVISIBLE: Final = "GroupsNotDivisible"
TENSOR_EXCEEDS_NODE: Final = "TensorExceedsNode"
ACCELERATORS_DO_NOT_MATCH: Final = "AcceleratorsDoNotMatch"
MORE_STAGES_THAN_LAYERS: Final = "MoreStagesThanLayers"
NO_EXPERTS: Final = "NoExperts"
CHECKPOINT_IS_QUANTIZED: Final = "CheckpointIsQuantized"
SPARSE_CHECKPOINT_REFUSED: Final = "SparseCheckpointRefused"
QUALITY_LOSS_TOO_HIGH: Final = "QualityLossTooHigh"
DTYPE_NOT_SUPPORTED: Final = "DtypeNotSupported"
KV_DTYPE_NOT_SUPPORTED: Final = "KvDtypeNotSupported"
NO_KV_CACHE: Final = "NoKvCache"
NO_DRAFT_LAYERS: Final = "NoDraftLayers"
NEEDS_DRAFT_MODEL: Final = "NeedsDraftModel"
NAME_USED_TWICE: Final = "NameUsedTwice"
ADAPTER_NOT_FOUND: Final = "AdapterNotFound"
ADAPTER_RANK_TOO_HIGH: Final = "AdapterRankTooHigh"
BATCH_TOO_SMALL: Final = "BatchTooSmall"

# Planning: why a technique is on or off.
AS_ASKED: Final = "AsAsked"
FOUND_IN_CHECKPOINT: Final = "FoundInCheckpoint"
FITS_ONLY_SO: Final = "FitsOnlySo"
OBJECTIVE_PREFERS: Final = "ObjectivePrefers"
QUALITY_FIRST: Final = "QualityFirst"
NOT_NEEDED: Final = "NotNeeded"
NOT_SUPPORTED: Final = "NotSupported"
ENGINE_DECIDES: Final = "EngineDecides"
HARDWARE_DECIDES: Final = "HardwareDecides"
AS_THE_MODEL: Final = "AsTheModel"
FOLLOWS_LOAD: Final = "FollowsLoad"
