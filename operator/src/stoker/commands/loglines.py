"""Which containers of a service's pods have something to say, and how a line of theirs is shown.

Nothing here asks a cluster. A pod's words are not trusted: they steer no terminal, and what looks
like a credential is hidden, whoever wrote it down.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stoker import naming
from stoker.commands.statuses import mapping, mappings, text, whole
from stoker.naming import Component

HIDDEN: Final = "***"
# The init container that only copies a file.
_SILENT: Final = frozenset({"install-worker"})
# Escape sequences, as engines colour their lines.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_SECRETS: Final = (
    re.compile(r"\b(?:hf|api_org|gh[pousr]|glpat|sk|xox[abp])[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?i)(?<=bearer )[^\s'\",]{8,}"),
    re.compile(r"(?i)(?<=basic )[A-Za-z0-9+/]{12,}={0,2}"),
    re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"),
    re.compile(r"(?i)(?<=signature=)[^\s&'\"]+"),
    re.compile(
        r"(?i)(?:(?<=password=)|(?<=api_key=)|(?<=api-key=)|(?<=token=)|(?<=secret=))[^\s&'\",)]+"
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One container's log."""

    pod: str
    uid: str
    component: str
    container: str
    restarts: int
    running: bool = field(compare=False)  # the same log, before and after its end


def sources(pods: Iterable[Mapping[str, Any]], *, previous: bool) -> tuple[Source, ...]:
    """What can be read now, in the order of the pods' names.

    `previous`: of containers that were restarted, what the one before wrote.
    """
    found: list[Source] = []
    for pod in sorted(pods, key=lambda each: str(mapping(each.get("metadata")).get("name"))):
        metadata, status = mapping(pod.get("metadata")), mapping(pod.get("status"))
        component = mapping(metadata.get("labels")).get(naming.LABEL_COMPONENT, "")
        entries = (
            *mappings(status.get("initContainerStatuses")),
            *mappings(status.get("containerStatuses")),
        )
        for entry in entries:
            name, state = text(entry.get("name")), mapping(entry.get("state"))
            restarts = whole(entry.get("restartCount")) or 0
            begun = "running" in state or "terminated" in state or restarts
            if name is None or name in _SILENT or not (restarts if previous else begun):
                continue
            found.append(
                Source(
                    pod=str(metadata.get("name")),
                    uid=str(metadata.get("uid", "")),
                    component=str(component),
                    container=name,
                    restarts=restarts,
                    running="running" in state,
                )
            )
    return tuple(found)


def prefix(source: Source, service: str) -> str:
    """Whose line it is, short: what every pod of the service has in common is left out."""
    pod = source.pod.removeprefix(f"{service}-")
    alone = source.container in {source.component, "engine", "envoy", "facts"}
    return pod if alone else f"{pod}/{source.container}"


def clean(raw: bytes) -> str:
    """A line as text without credentials and without what steers a terminal."""
    line = _ESCAPES.sub("", raw.decode("utf-8", "replace").rstrip("\r\n"))
    for secret in _SECRETS:
        line = secret.sub(HIDDEN, line)
    return "".join(each if each.isprintable() or each == "\t" else " " for each in line)


def components_of(names: Iterable[str]) -> frozenset[str]:
    """The component words that were asked for; all where none was."""
    wanted = frozenset(names)
    return wanted or frozenset(each.value for each in Component)
