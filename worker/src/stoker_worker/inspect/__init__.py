"""Facts about a model from its folder: configuration and safetensors headers, never the weights.

`inspect_model` reads a folder; `facts_of` is the pure part, from parsed values to facts.
"""

from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.facts import facts_of
from stoker_worker.inspect.folder import inspect_model

__all__ = ["InspectError", "Reason", "facts_of", "inspect_model"]
