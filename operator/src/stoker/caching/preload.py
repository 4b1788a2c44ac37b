"""`preload-models`: a list of models in a ConfigMap, each of which becomes a `ModelCache`.

    - name: llama
      uri: hf://ORG/NAME          # or path: CLAIM/FOLDER
      revision: v1                # optional
      secretRef: NAME             # optional

Reading it never fails: what is wrong is told entry by entry, with what to write instead, and the
good ones go on. What is to be done about each is decided here too, from what there is of its name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from pydantic import ValidationError

from stoker import naming
from stoker.api import modelcache, v1alpha1
from stoker.api.modelcache import ModelCache

KEY: Final = "preload-models"
# Bounds of one ConfigMap: reading YAML holds up everything else for as long as it takes.
MAX_CHARACTERS: Final = 32_768
MAX_ENTRIES: Final = 200
_KNOWN: Final = ("name", "path", "uri", "revision", "secretRef")
_PATH: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[^/].*")
_WRITE: Final = {
    "uri": "write hf://ORG/NAME, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, oci://HOST/REPOSITORY, "
    "https://HOST/ARCHIVE or pvc://CLAIM/FOLDER; a revision goes into revision, a token into the "
    "Secret of secretRef",
    "revision": "write a branch, a tag, a commit, a version or a digest of the source",
    "secretRef": "write the name of a Secret of this namespace",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the list, checked."""

    number: int  # as people count, from 1
    name: str
    uri: str
    revision: str | None = None
    secret: str | None = None

    @property
    def model(self) -> dict[str, Any]:
        """`spec.model` of its cache."""
        return model_of(self.uri, self.revision, self.secret)


@dataclass(frozen=True, slots=True)
class Preloads:
    """A list as it was read."""

    entries: tuple[Entry, ...] = ()
    faults: tuple[str, ...] = ()  # sentences for people


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one entry: at most one of the two."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


def model_of(uri: str, revision: str | None, secret: str | None) -> dict[str, Any]:
    """`spec.model` of a cache."""
    model: dict[str, Any] = {"uri": uri}
    if revision is not None:
        model["revision"] = revision
    if secret is not None:
        model["secretRef"] = {"name": secret}
    return model


def manifest_of(
    name: str, model: Mapping[str, Any], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A ModelCache of that model."""
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": f"{v1alpha1.GROUP}/{v1alpha1.VERSION}",
        "kind": modelcache.KIND,
        "metadata": metadata,
        "spec": {"model": dict(model)},
    }


def problem_of(manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with a manifest that was made here, with what to write instead."""
    try:
        ModelCache.model_validate(manifest)
    except ValidationError as error:
        problem = error.errors()[0]
        place = [str(part) for part in problem["loc"]]
        word = next((each for each in place if each in _WRITE), "")
        said = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "value_error":
            return said.replace("model.revision", "revision").replace("metadata.name", "name")
        return f"{word or '.'.join(place)} cannot be used: {_WRITE.get(word, said)}"
    return None


def parse(data: object) -> Preloads:
    """Read a ConfigMap's `data`."""
    text = data.get(KEY) if isinstance(data, Mapping) else None
    if not isinstance(text, str):
        return _refused("is not there: write a YAML list into this key")
    if len(text) > MAX_CHARACTERS:
        most = f"at most {MAX_CHARACTERS:,} are read: write several ConfigMaps"
        return _refused(f"has {len(text):,} characters, {most}")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return _refused(f"is not YAML: {' '.join(str(error).split())[:300]}")
    if found is None:
        return Preloads()
    if not isinstance(found, list):
        return _refused("is no list: write `- name: NAME` and `  uri: URI` for each model")
    if len(found) > MAX_ENTRIES:
        most = f"at most {MAX_ENTRIES} are read: write several ConfigMaps"
        return _refused(f"has {len(found):,} entries, {most}")
    return _read(found)


def _refused(why: str) -> Preloads:
    return Preloads(faults=(f"{KEY} {why}",))


def _read(found: list[Any]) -> Preloads:
    entries: list[Entry] = []
    faults: list[str] = []
    taken: dict[str, int] = {}
    for number, each in enumerate(found, 1):
        read = _entry(number, each)
        if isinstance(read, str):
            faults.append(f"entry {number}{_called(each)}: {read}")
        elif read.name in taken:
            faults.append(
                f"entry {number} ({read.name}): entry {taken[read.name]} has this name already; "
                "write another"
            )
        else:
            taken[read.name] = number
            entries.append(read)
    return Preloads(tuple(entries), tuple(faults))


def _called(each: object) -> str:
    """Its name, where it has a short one."""
    name = each.get("name") if isinstance(each, dict) else None
    return f" ({name})" if isinstance(name, str) and 0 < len(name) <= 64 and name.isascii() else ""


def _entry(number: int, each: object) -> Entry | str:
    """The entry, or what is wrong with it."""
    if not isinstance(each, dict):
        return "is no mapping: write `- name: NAME` and `  uri: URI`"
    for fault in (*_unknown(each), *_no_text(each)):
        return fault
    name = each.get("name")
    if not name:
        return "has no name: write name: and a DNS label, which the ModelCache is called"
    if ("uri" in each) == ("path" in each):
        return "takes exactly one of uri and path: write uri: hf://ORG/NAME, or path: CLAIM/FOLDER"
    uri = each.get("uri", "")
    if "path" in each:
        path = each["path"]
        if not _PATH.fullmatch(path):
            return (
                "path is a folder of a PersistentVolumeClaim of this namespace: write "
                "path: CLAIM/FOLDER; an address goes into uri"
            )
        uri = f"pvc://{path}"
    secret = each.get("secretRef")
    entry = Entry(
        number,
        name,
        uri,
        each.get("revision"),
        secret.get("name") if isinstance(secret, dict) else secret,
    )
    return problem_of(manifest_of(entry.name, entry.model)) or entry


def _unknown(each: Mapping[Any, Any]) -> Iterator[str]:
    for key in each:
        if key not in _KNOWN:
            shown = key[:64] if isinstance(key, str) else "one that is no text"
            yield f"has an unknown key, {shown}: write one of {', '.join(_KNOWN)}"


def _no_text(each: Mapping[str, Any]) -> Iterator[str]:
    for key, value in each.items():
        if isinstance(value, str):
            continue
        if key == "secretRef" and isinstance(value, dict):
            if list(value) != ["name"] or not isinstance(value["name"], str):
                yield "secretRef takes a name and nothing else: write secretRef: NAME"
            continue
        yield f"{key} is no text: write it in quotes"


def step_of(entry: Entry, config_map: str, existing: Mapping[str, Any] | None) -> Step:
    """What is to be done about an entry, from the cache of its name; None where there is none.

    A cache that this ConfigMap made follows its entry. Anybody else's is left as it is.
    """
    annotations = {naming.ANNOTATION_PRELOADED: config_map}
    manifest = manifest_of(entry.name, entry.model, annotations)
    if existing is None:
        return Step(manifest)
    metadata = existing.get("metadata") or {}
    if "deletionTimestamp" in metadata:
        return Step()  # made anew once it is gone
    model = (existing.get("spec") or {}).get("model") or {}
    if {name: model.get(name) for name in ("uri", "revision", "secretRef")} == {
        name: entry.model.get(name) for name in ("uri", "revision", "secretRef")
    }:
        return Step()
    if (metadata.get("annotations") or {}).get(naming.ANNOTATION_PRELOADED) == config_map:
        return Step(manifest)
    its = str(model.get("uri"))[:200]
    return Step(
        fault=(
            f"entry {entry.number} ({entry.name}): the ModelCache of this name was made by "
            f"somebody else and is of {its}, or of another revision or Secret; it is left alone: "
            "write another name, or correct the entry"
        )
    )
