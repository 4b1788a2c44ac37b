"""Which series of pods the shipped rules and dashboards read, for who wants to store no others.

Read from the files themselves, so that a rule that asks for one more is enough. Histograms go by
their stem. Names of nodes' exporters (`kube_*`, `container_*`, accelerators) are other scrapes.
"""

import re
from collections.abc import Iterable
from typing import Final

_PODS: Final = re.compile(
    r"(?<![\w:])(?:vllm:|sglang[:_]|tgi_|envoy_|inference_|stoker_worker_|process_)[a-z0-9_]+"
)
_LABELS: Final = frozenset({"envoy_cluster_name", "envoy_response_code", "inference_pool"})
_PARTS: Final = re.compile(r"_(bucket|sum|count)$")


def names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of series in these files, histograms without their suffixes."""
    found = {name for text in texts for name in _PODS.findall(text)} - _LABELS
    stems = {_PARTS.sub("", name) for name in found if _PARTS.search(name)}
    return tuple(sorted({name for name in found if not _PARTS.search(name)} | stems))


def pattern(texts: Iterable[str]) -> str:
    """A regular expression of Prometheus for these names, anchored at both ends by itself."""
    return f"({'|'.join(names(texts))})(_bucket|_sum|_count)?\n"
