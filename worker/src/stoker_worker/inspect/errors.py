"""Why a model's facts cannot be had: a reason for machines, a sentence for people."""

from __future__ import annotations


class Reason:
    """CamelCase words, the first of a termination message; docs/model-facts.md explains each."""

    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_CONFIG_MISSING = "ModelConfigMissing"
    MODEL_CONFIG_INVALID = "ModelConfigInvalid"
    DIMENSION_ABSURD = "DimensionAbsurd"
    STRUCTURE_UNKNOWN = "StructureUnknown"
    REMOTE_CODE = "RemoteCode"
    WEIGHTS_MISSING = "WeightsMissing"
    PICKLE_WEIGHTS = "PickleWeights"
    GGUF_ONLY = "GgufOnly"
    INDEX_INVALID = "IndexInvalid"
    SHARD_MISSING = "ShardMissing"
    TENSOR_MISSING = "TensorMissing"
    TENSOR_MISPLACED = "TensorMisplaced"
    FILE_TRUNCATED = "FileTruncated"
    HEADER_INVALID = "HeaderInvalid"
    HEADER_TOO_LONG = "HeaderTooLong"
    UNREADABLE = "Unreadable"


class InspectError(Exception):
    """No facts: the reason, and a message that says where, what, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
