"""Engines whose configuration is asked, and checkpoints to ask about."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from e2e.cluster.settings import REPOSITORY
from e2e.engine import ENGINE_PYTHON, ensure_site_packages
from e2e.models import ensure_model, ensure_quantized
from stoker_worker.contract import WorkerConfig
from stoker_worker.engines.vllm import MANY, Vllm
from tests.support.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from stoker.catalog.gpus import Gpu

_BUILD = REPOSITORY / "tests/integration/flags/build.py"
_TIMEOUT_S = 800  # ten times what idle cores need


@dataclass
class Checkpoints:
    """The tiny model, and variants of it that only a configuration tells apart."""

    folder: Path

    @cached_property
    def plain(self) -> Path:
        return ensure_model()

    @cached_property
    def mixture(self) -> Path:
        """A mixture of experts."""
        return self._variant(
            "mixture",
            model_type="mixtral",
            architectures=["MixtralForCausalLM"],
            num_local_experts=8,
            num_experts_per_tok=2,
        )

    @cached_property
    def kv_scheme(self) -> Path:
        """One that asks for a KV cache in FP8, as some public ones do."""
        scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
        return self._variant("kv-scheme", quantization_config=self._stored("fp8") | {
            "kv_cache_scheme": {**scheme, "symmetric": True}})  # fmt: skip

    @cached_property
    def sparse(self) -> Path:
        """One with a word about sparsity, though its weights are dense."""
        sparsity = {"sparsity_config": {"format": "dense", "targets": ["Linear"]}}
        return self._variant("sparse", quantization_config=self._stored("int8") | sparsity)

    def family(self, name: str) -> Path:
        """One with the layers of a public model."""
        folder = self._variant(name)
        (folder / "config.json").write_text(json.dumps(FAMILIES[name].config), encoding="utf-8")
        return folder

    def _stored(self, name: str) -> dict[str, Any]:
        text = (ensure_quantized() / name / "config.json").read_text(encoding="utf-8")
        stored: dict[str, Any] = json.loads(text)["quantization_config"]
        return stored

    def _variant(self, name: str, **changes: object) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for path in self.plain.iterdir():
            if path.suffix != ".safetensors":  # no weights are read
                (folder / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder


@dataclass(frozen=True)
class Question:
    """One command line, and where the engine is to think it is; None: where it really is."""

    name: str
    model: Path
    args: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    gpu: Gpu | None = None

    def order(self) -> dict[str, Any]:
        """Return what `build.py` reads."""
        return {
            "name": self.name,
            "words": [f"--model={self.model}", *_words(self.args)],
            "env": dict(self.env),
            "gpu": self.gpu
            and {
                "name": self.gpu.name,
                "capability": self.gpu.compute_capability,
                "memory": self.gpu.memory_bytes,
            },
        }


@dataclass(frozen=True)
class Answers:
    """What one engine made of its questions."""

    version: str
    answers: Mapping[str, Mapping[str, Any]]

    def refused(self, names: Iterable[str]) -> dict[str, str]:
        """Return those that were refused, and the engine's words."""
        return {name: said for name in names if (said := self.answers[name].get("refused"))}

    def understood(self, name: str) -> Mapping[str, Any]:
        """Return what is in the configuration that was built."""
        found: Mapping[str, Any] = self.answers[name]["accepted"]
        return found


def ask(folder: Path, questions: Sequence[Question], source: Path | None = None) -> Answers:
    """Ask them all in one process.

    Parameters
    ----------
    folder
        For the process; empty.
    questions
        With a GPU each, or without one each.
    source
        Folder of another version's Python files; the packages that they import are the installed
        engine's.
    """
    order, answers = folder / "order.json", folder / "answers.json"
    order.write_text(json.dumps({"cases": [each.order() for each in questions]}))
    path = [str(each) for each in (source, ensure_site_packages()) if each is not None]
    done = subprocess.run(  # noqa: S603 - the command is ours
        [str(ENGINE_PYTHON), str(_BUILD), str(order), str(answers)],
        check=False,
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": ":".join(path),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "CUDA_VISIBLE_DEVICES": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
    )
    assert answers.exists(), done.stdout[-5000:]
    return Answers(**json.loads(answers.read_text(encoding="utf-8")))


def _words(args: Mapping[str, str]) -> list[str]:
    """As the worker writes them, without what belongs to the server."""
    bare = Vllm().arguments(WorkerConfig("vllm", "/model", ["main"], {}))
    own = {name: value for name, value in args.items() if name not in MANY}
    whole = Vllm().arguments(WorkerConfig("vllm", "/model", ["main"], own))
    return [word for word in whole if word not in bare]
