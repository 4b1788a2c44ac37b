"""Every generated file of the chart, by its path below `charts/stoker`."""

from collections.abc import Mapping


def files() -> Mapping[str, str]:
    """Path to content. Each source adds its own here."""
    return {}
