"""One job: look at a source, fill a volume with what it has, or check what the volume holds.

    resolve   pin the revision and count the bytes; needs no volume
    fetch     make the model be there and be good
    verify    the same, and believe nothing: read what looks touched, or every byte
    mount     look at an image that a runtime mounted; needs no volume

`fetch` and `verify` are one algorithm. A published model is compared with its manifest; what is bad
goes aside at once and its good copy is fetched; where nothing is bad, the source is not even asked.
A model without a manifest to believe goes back to `partial`, where every byte is hashed against
what the source promises. A model that is not there is fetched.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stoker_worker.cachecontract import (
    MANIFEST,
    MOUNT,
    RESOLVE,
    SOURCE_DIR,
    VERIFY,
    VOLUME_DIR,
    FetchConfig,
    FetchReason,
    FetchResult,
)
from stoker_worker.fetch import progress as states
from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.disk import blocks, refusal
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.folder import Folder, failed
from stoker_worker.fetch.journal import Journal, Recorded
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.look import Look, look_at
from stoker_worker.fetch.mounted import look_at_mounted
from stoker_worker.fetch.pace import Bucket, Patience
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.redact import public
from stoker_worker.fetch.source import Source
from stoker_worker.fetch.transfer import Limits, Transfer
from stoker_worker.fetch.volume import JOURNAL, QUARANTINE_S, Volume, check_name
from stoker_worker.inspect import InspectError, inspect_model
from stoker_worker.manifest import (
    Checked,
    Manifest,
    ManifestError,
    ManifestFile,
    full_check,
    quick_check,
    read_manifest,
)
from stoker_worker.modelfacts import FactsError, to_dict

# More threads than cores gain nothing, and more than a few are not needed by any network.
_MOST_HASHERS = 8
_LOCK_S = 1.0
_REPAIRED = 8
_SHOWN = 60  # characters of a file's name
_UNREAD = 400  # characters of a reader's message


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job works with."""

    source: Callable[[], Source]  # opened when it is needed
    meter: Meter
    say: Callable[[str], None]
    stop: threading.Event
    volume: Path = Path(VOLUME_DIR)
    mounted: Path = Path(SOURCE_DIR)


class Job:
    """Runs once."""

    def __init__(self, config: FetchConfig, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._meter = tools.meter
        self._begun = time.time()
        self._patience = Patience(config.patience_s)
        self._opened: Source | None = None
        self._repaired: list[str] = []

    def run(self) -> FetchResult:
        """Do it; FetchError says why it cannot be done."""
        if self._config.task == RESOLVE:
            look = self._look()
            result = self._result(look.revision, look.bytes, len(look.files))
            image = look.image
            return replace(
                result,
                image=image.reference,
                image_folder=image.folder,
                unmountable=image.unmountable,
            )
        if self._config.task == MOUNT:
            look = look_at_mounted(self._source(), self._config, self._tools.mounted)
            result = self._result(self._config.revision, look.bytes, len(look.files))
            told = replace(result, digest=self._config.revision)
            return self._with_facts(told, self._tools.mounted / self._config.folder)
        check_name(self._config.folder)
        try:
            return self._ensure()
        except OSError as error:
            raise failed(error.filename or self._tools.volume, error) from error

    def _ensure(self) -> FetchResult:
        volume = Volume.open(self._tools.volume)
        with volume.locked(self._config.folder, self._wait_for_writer):
            self._clean(volume)
            volume.make_compiled(self._config.folder)
            model = volume.published(self._config.folder)
            manifest = None if model is None else self._believed(model)
            if model is None or manifest is None:
                model, manifest = self._fetch_all(volume, model)
            else:
                manifest = self._check(volume, model, manifest)
            return self._conclude(model, manifest)

    def _clean(self, volume: Volume) -> None:
        config = self._config
        volume.remove_quarantined(self._begun - QUARANTINE_S)
        before = config.live_at or self._begun
        for name in volume.remove_unwanted(config.live, config.folder, before):
            self._tools.say(f"removed {name}: nobody on this volume wants it any more")

    def _wait_for_writer(self) -> None:
        text = "another job writes this model; it will be there when that one ends"
        self._meter.enter(states.WAITING, message=text)
        if self._tools.stop.wait(_LOCK_S):
            raise FetchError(FetchReason.INTERRUPTED, "asked to end while waiting", passes=True)

    # What is there.

    def _believed(self, model: Folder) -> Manifest | None:
        """The manifest, if it can be believed to be of this model."""
        try:
            manifest = read_manifest(model.path)
        except ManifestError as error:
            self._tools.say(f"{error}; every file is read and compared with the source")
            return None
        wanted = self._config.revision
        if wanted and manifest.revision != wanted:
            self._tools.say(
                f"{model.path / MANIFEST} is of revision {manifest.revision!r:.80} and not of "
                f"{wanted!r:.80}; every file is read and compared with the source"
            )
            return None
        return manifest

    def _check(self, volume: Volume, model: Folder, manifest: Manifest) -> Manifest:
        """Compare the model with its manifest, and repair it."""
        self._refuse_other_digests(manifest)
        self._meter.expect(manifest.bytes, len(manifest.files))
        self._meter.enter(states.VERIFYING)
        suspects = quick_check(model.path, manifest)
        certain = {each.path: each.fault for each in suspects if each.certain}
        doubtful = {each.path for each in suspects if not each.certain}
        everything = self._config.task == VERIFY and self._config.full
        to_read = [
            file
            for file in manifest.files
            if file.path not in certain and (everything or file.path in doubtful)
        ]
        known = {file.path: file for file in manifest.files}
        unread = set(known) - set(certain) - {file.path for file in to_read}
        self._meter.kept(sum(known[path].size for path in unread), len(unread))
        checked = self._read(model, to_read)
        bad = {each.file.path: each.fault for each in checked if each.fault}
        known |= {each.file.path: each.file for each in checked if not each.fault}
        for path, fault in sorted({**certain, **bad}.items()):
            there = model.state(path) is not None
            self._tools.say(f"{path} {fault}" + ("; it is put aside" if there else ""))
            if there:
                volume.put_aside(self._config.folder, path, model)
        missing = sorted((set(certain) | set(bad)) & set(known))
        if missing:
            self._meter.lost(sum(known[path].size for path in bad))
            known |= self._repair(volume, model, [known[path] for path in missing])
        renewed = self._manifest(manifest.revision, known.values())
        if renewed != manifest:
            model.write(MANIFEST, renewed.to_json())
        return self._prove(model, renewed)

    def _refuse_other_digests(self, manifest: Manifest) -> None:
        """Digests that one cache demands do not put aside what another one uses."""
        for file in manifest.files:
            demanded = self._config.digests.get(file.path, file.sha256)
            if demanded != file.sha256:
                raise FetchError(
                    FetchReason.DIGEST_MISMATCH,
                    f"{file.path}: expected sha256 {demanded}, and the volume has the file with "
                    f"{file.sha256}, as the source has it",
                )

    def _read(self, model: Folder, files: Sequence[ManifestFile]) -> list[Checked]:
        checked = full_check(
            model.path,
            files,
            _hashers(),
            told=self._meter.checked,
            stop=self._tools.stop,
            from_disk=self._config.task == VERIFY,
        )
        if self._tools.stop.is_set():
            raise FetchError(FetchReason.INTERRUPTED, "asked to end while reading", passes=True)
        for each in checked:
            if not each.fault:
                self._meter.file_done()
        return checked

    def _repair(
        self, volume: Volume, model: Folder, files: Sequence[ManifestFile]
    ) -> dict[str, ManifestFile]:
        """Fetch these files only, and put them where they belong."""
        look = self._look()
        offered = {file.path: file for file in look.listed}
        remotes = []
        for file in files:
            remote = offered.get(file.path)
            if remote is None or remote.size != file.size:
                raise FetchError(
                    FetchReason.REVISION_NOT_FOUND,
                    f"{file.path} is bad, and the source no longer has it with {file.size} bytes "
                    f"at revision {look.revision}; fetch a revision that the source has",
                )
            remotes.append(replace(remote, sha256=file.sha256))
        good = self._transfer(volume, remotes, look.revision)
        for path in good:
            volume.put_back(self._config.folder, path, model)
            found = model.state(path)
            if found is not None:
                good[path] = good[path].of(found)
        volume.forget_partial(self._config.folder)
        self._repaired = sorted(good)
        return good

    # What is not there.

    def _fetch_all(self, volume: Volume, model: Folder | None) -> tuple[Folder, Manifest]:
        look = self._look()
        self._meter.expect(look.bytes, len(look.files))
        name = self._config.folder
        if model is not None:
            # Only now: had the source not answered, what is there would still be there.
            self._take_back(volume, look)
        good = self._transfer(volume, look.files, look.revision)
        self._meter.enter(states.PUBLISHING)
        manifest = self._manifest(look.revision, good.values())
        published = volume.publish(name, manifest)
        return published, self._prove(published, manifest)

    def _take_back(self, volume: Volume, look: Look) -> None:
        """Make a published model one on its way, of which no byte has been verified."""
        name = self._config.folder
        volume.forget_partial(name)
        volume.models.move(name, volume.partials, name)
        partial = volume.partial(name)
        records = []
        for file in look.files:
            found = partial.state(file.path)
            provable = file.sha256 is not None or file.git_sha1 is not None
            if provable and found is not None and found.st_size == file.size:
                every = set(range(-(-file.size // CHUNK)))
                records.append((file.path, Recorded(file.size, CHUNK, every)))
        journal = Journal(volume.partials, name + JOURNAL)
        journal.begin(look.revision, records)
        journal.close()
        partial.close()

    def _transfer(
        self, volume: Volume, files: Sequence[RemoteFile], revision: str
    ) -> dict[str, ManifestFile]:
        config, name = self._config, self._config.folder
        partial = volume.partial(name)
        try:
            self._check_room(volume, partial, files)
            self._meter.enter(states.DOWNLOADING)
            limits = Limits(
                parallel=max(1, config.parallel),
                hashers=_hashers(),
                bucket=Bucket(config.bandwidth),
                patience=self._patience,
                stop=self._tools.stop,
                say=self._tools.say,
            )
            journal = Journal(volume.partials, name + JOURNAL)
            transfer = Transfer(self._source(), partial, journal, self._meter, limits)
            return transfer.run(files, revision)
        finally:
            partial.close()

    def _check_room(self, volume: Volume, partial: Folder, files: Sequence[RemoteFile]) -> None:
        """Know before the first byte whether the last one will fit."""
        there = 0
        for file in files:
            found = partial.state(file.path)
            if found is not None:
                there += min(found.st_blocks * 512, blocks([file.size]))
        needed = max(0, blocks(file.size for file in files) - there)
        where, reserve = "the volume", self._config.reserve_bytes
        if refusal(needed, volume.root.space(), reserve, where) is None:
            return
        volume.remove_quarantined(time.time() + 1)  # rather than a model that does not fit
        refused = refusal(needed, volume.root.space(), reserve, where)
        if refused is not None:
            raise refused

    # The source.

    def _source(self) -> Source:
        if self._opened is None:
            self._opened = self._tools.source()
        return self._opened

    def _look(self) -> Look:
        """Ask the source what it has, as long as there is hope."""
        self._meter.enter(states.RESOLVING)
        self._patience.good()  # what came before, a lock or a long reading, took none of it
        while True:
            try:
                return look_at(self._source(), self._config)
            except FetchError as error:
                until = self._patience.after(error)
                self._tools.say(f"{error}; another try follows")
            while (left := self._meter.waiting(until, self._patience.why())) > 0:
                if self._tools.stop.wait(min(left, _LOCK_S)):
                    text = "asked to end while waiting for the source"
                    raise FetchError(FetchReason.INTERRUPTED, text, passes=True)

    # What is told.

    def _manifest(self, revision: str, files: Iterable[ManifestFile]) -> Manifest:
        config = self._config
        ordered = tuple(sorted(files, key=lambda file: file.path))
        return Manifest(public(config.uri), revision, config.name, config.keep, ordered)

    def _prove(self, model: Folder, manifest: Manifest) -> Manifest:
        """See that what was published is what readers will find; return its manifest.

        A network file system may tell other times once the server has the file. Then the bytes are
        read again, as a reader would, and the manifest says what is told now.
        """
        suspects = quick_check(model.path, manifest)
        if not suspects:
            return manifest
        names = {each.path for each in suspects if not each.certain}
        checked = full_check(model.path, [f for f in manifest.files if f.path in names], _hashers())
        faults = [f"{each.path} {each.fault}" for each in suspects if each.certain]
        faults += [f"{each.file.path} {each.fault}" for each in checked if each.fault]
        if faults:
            text = f"{faults[0]}, right after it was written; who else writes to this volume?"
            raise FetchError(FetchReason.VOLUME_FAILED, text, passes=True)
        fresh = {each.file.path: each.file for each in checked}
        files = tuple(fresh.get(file.path, file) for file in manifest.files)
        renewed = replace(manifest, files=files)
        model.write(MANIFEST, renewed.to_json())
        return renewed

    def _conclude(self, model: Folder, manifest: Manifest) -> FetchResult:
        result = self._result(manifest.revision, manifest.bytes, len(manifest.files))
        return self._with_facts(replace(result, digest=manifest.digest), model.path)

    def _with_facts(self, result: FetchResult, folder: Path) -> FetchResult:
        try:
            facts = to_dict(inspect_model(folder, allow_pickle=self._config.allow_pickle))
        except InspectError as error:
            self._tools.say(f"the model is whole, and its facts cannot be read: {error}")
            return replace(result, unread=(error.reason, error.message[:_UNREAD]))
        except FactsError as error:
            return replace(result, unread=("StructureUnknown", str(error)[:_UNREAD]))
        return replace(result, facts=facts)

    def _result(self, revision: str, size: int, files: int) -> FetchResult:
        return FetchResult(
            task=self._config.task,
            revision=revision,
            bytes=size,
            files=files,
            fetched=self._meter.fetched,
            repaired=tuple(path[-_SHOWN:] for path in self._repaired[:_REPAIRED]),
            seconds=round(time.time() - self._begun, 3),
        )


def _hashers() -> int:
    return max(1, min(_MOST_HASHERS, len(os.sched_getaffinity(0))))
