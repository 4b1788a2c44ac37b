"""A volume in a folder, jobs on it, and a model that is worth a few chunks."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker_worker.cachecontract import FETCH, MODELS, FetchConfig, FetchResult
from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.progress import Meter
from tests.support.checkpoints import SMALL, SMALL_TENSORS, write_model
from tests.support.foldersource import REVISION, FolderSource

NAME = "tiny-0123456789"
URI = "https://user:secret@models.example/tiny?signature=abcdef"


def make_model(folder: Path, chunks: int = 3) -> Path:
    """A small model, with one file of several chunks that end in the middle of one."""
    write_model(folder, SMALL, SMALL_TENSORS, shards=3)
    (folder / "README.md").write_text("not for engines")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "empty.jinja").write_text("")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    (folder / "tokenizer.model").write_bytes(os.urandom(chunks * CHUNK - 1000))
    return folder


@dataclass
class Bench:
    """One volume and one source."""

    volume: Path
    source: FolderSource
    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> Path:
        return self.volume / MODELS / NAME

    def run(self, task: str = FETCH, **changes: Any) -> FetchResult:
        config = FetchConfig(
            **{
                "task": task,
                "uri": URI,
                "revision": REVISION,
                "folder": NAME,
                "name": "default/tiny",
                **changes,
            }
        )
        meter = Meter(task)
        tools = Tools(lambda: self.source, meter, self.said.append, self.stop, self.volume)
        return Job(config, tools).run()

    def check(self) -> None:
        """What is published is what the source has, byte by byte, and nothing else."""
        wanted = {
            path.relative_to(self.source.folder): path.read_bytes()
            for path in self.source.folder.rglob("*")
            if path.is_file() and path.suffix != ".md"
        }
        found = {
            path.relative_to(self.model): path.read_bytes()
            for path in self.model.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        assert found.keys() == wanted.keys()
        assert found == wanted
