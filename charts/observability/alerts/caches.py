"""Model caches: bad bytes, no room, no model."""

from typing import Final

from charts.observability.promql import counted, labels
from charts.observability.rulefile import Alert

_BY: Final = labels(("cluster", "namespace", "cache"))
_WHO: Final = "{{ $labels.namespace }}/{{ $labels.cache }}"


def _condition(chosen: str) -> str:
    return f"max by {_BY} (stoker_cache_condition{{{chosen}}})"


_BAD: Final = counted("stoker_cache_verifications_total", "1h", 'result="bad"')

ALERTS: Final = (
    Alert(
        "StokerCacheCorrupt",
        f"sum by {_BY} ({_BAD}) > 0\nor\n" + _condition('condition="Verified"'),
        "critical",
        f"The cached model {_WHO} has bad files",
        "A verification found files that are not what their digests say. Engines that start now "
        "refuse them; those that run have read them earlier.",
    ),
    Alert(
        "StokerCacheFull",
        _condition('reason="NotEnoughDisk"'),
        "warning",
        f"There is no room for the model {_WHO}",
        "The volume of the cache is smaller than the model needs, so it is not fetched.",
        hold="5m",
    ),
    Alert(
        "StokerCacheFailed",
        f'max by {_BY} (stoker_cache_phase{{phase="Failed"}}) == 1',
        "warning",
        f"The model {_WHO} cannot be cached",
        "Nothing is in use and something is wrong; services that need the model wait.",
        hold="15m",
    ),
)
