"""The messages of KEDA's external scalers, as their protocol numbers them.

They are few and fixed, so they are written here instead of generated: a table of names and numbers
is what a compiler would make of the protocol's file. A test holds it against KEDA's own code.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE: Final = "externalscaler.ExternalScaler"
_PACKAGE: Final = "externalscaler"

_Field = descriptor_pb2.FieldDescriptorProto
_STRING: Final = _Field.TYPE_STRING
_BOOL: Final = _Field.TYPE_BOOL
_INT64: Final = _Field.TYPE_INT64
_DOUBLE: Final = _Field.TYPE_DOUBLE

# Message → fields in the order of their numbers, which begin at 1. A type in words is a message;
# `*` repeats it.
_MESSAGES: Final[dict[str, dict[str, Any]]] = {
    "ScaledObjectRef": {"name": _STRING, "namespace": _STRING, "scalerMetadata": "*MetadataEntry"},
    "MetadataEntry": {"key": _STRING, "value": _STRING},  # how a map travels
    "IsActiveResponse": {"result": _BOOL},
    "GetMetricSpecResponse": {"metricSpecs": "*MetricSpec"},
    "MetricSpec": {"metricName": _STRING, "targetSize": _INT64, "targetSizeFloat": _DOUBLE},
    "GetMetricsRequest": {"scaledObjectRef": "ScaledObjectRef", "metricName": _STRING},
    "GetMetricsResponse": {"metricValues": "*MetricValue"},
    "MetricValue": {"metricName": _STRING, "metricValue": _INT64, "metricValueFloat": _DOUBLE},
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="externalscaler.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            described = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
            if not isinstance(kind, str):
                described.type = kind
                continue
            if kind.startswith("*"):
                described.label = _Field.LABEL_REPEATED
            described.type = _Field.TYPE_MESSAGE
            described.type_name = f".{_PACKAGE}.{kind.removeprefix('*')}"
    return file


# A pool of its own: another library's messages of the same name would be no conflict.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())
_CLASSES = message_factory.GetMessageClassesForFiles(["externalscaler.proto"], _POOL)


def message(name: str) -> Any:  # noqa: ANN401 (made at run time, so no type is known before)
    """The class of a message."""
    return _CLASSES[f"{_PACKAGE}.{name}"]
