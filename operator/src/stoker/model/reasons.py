"""Every reason word that Stoker writes: conditions, events, scale decisions, actions.

One file, so that a program that matches on a reason finds all of them, and two places never spell
the same thing differently. A word once released is never reused for something else.
"""

from typing import Final

# Scaling.
FIXED_REPLICAS: Final = "FixedReplicas"
FOLLOWS_QUEUE: Final = "FollowsQueue"
METRICS_MISSING: Final = "MetricsMissing"
FIRST_REPLICAS: Final = "FirstReplicas"
LOAD_GREW: Final = "LoadGrew"
LOAD_SHRANK: Final = "LoadShrank"
LOAD_STEADY: Final = "LoadSteady"
WAITING_TO_SCALE_DOWN: Final = "WaitingToScaleDown"
REQUEST_ARRIVED: Final = "RequestArrived"
IDLE: Final = "Idle"
WITHIN_BOUNDS: Final = "WithinBounds"

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

# What keeps pods from answering.
CLAIM_NOT_FOUND: Final = "ClaimNotFound"
CLAIM_NOT_BOUND: Final = "ClaimNotBound"
IMAGE_PULL_FAILED: Final = "ImagePullFailed"
NO_NODE_FOR_ACCELERATOR: Final = "NoNodeForAccelerator"
UNSCHEDULABLE: Final = "Unschedulable"
SCHEDULED: Final = "Scheduled"
NOTHING_TO_SCHEDULE: Final = "NothingToSchedule"
OUT_OF_MEMORY: Final = "OutOfMemory"
MODEL_NOT_FOUND: Final = "ModelNotFound"
MODEL_INVALID: Final = "ModelInvalid"
CONFIG_INVALID: Final = "ConfigInvalid"
ENGINE_CRASHED: Final = "EngineCrashed"
ENGINE_HUNG: Final = "EngineHung"
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

# Actions, for the log.
MISSING: Final = "Missing"
CHANGED: Final = "Changed"
DRIFTED: Final = "Drifted"
DRAINED: Final = "Drained"
UNUSED: Final = "Unused"
UPDATE_PENDING: Final = "UpdatePending"
