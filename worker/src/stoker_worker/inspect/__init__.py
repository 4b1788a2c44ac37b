"""Facts about a model from its folder: configuration and safetensors headers, never the weights."""

from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.facts import facts_of

__all__ = ["InspectError", "Reason", "facts_of"]
