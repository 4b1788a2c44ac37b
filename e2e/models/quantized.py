"""Smaller checkpoints of the first tiny model, in each format that vLLM's CPU backend runs.

And some that it does not run, for what is to be refused before anything starts.

    <models_path()>/quantized-<hash of what decides them>/int8
                                                         /int4-gptq
                                                         /...

llm-compressor makes them, the library that makes most public ones, so an engine meets here what it
meets in production. It wants packages that the engine has not: they are a folder of their own,
which goes before the engine's on the quantizer's path alone.

What the backend of vLLM 0.32 does not run, tried with the same model: W8A16, FP8 with static
activation scales, MXFP8, MXFP4 and NVFP4. Nothing is in groups of 128: the model is 192 wide.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster.progress import Progress
from e2e.cluster.settings import cache
from e2e.engine import ENGINE_PYTHON, EngineBuildError, build_once, ensure_site_packages
from e2e.engine.packages import install
from e2e.models.checkpoints import ensure_model, models_path
from e2e.models.recipe import TINY

_LOCK_FILE = Path(__file__).with_name("quantizer.txt")
_SCRIPT = Path(__file__).with_name("quantize.py")
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Format:
    """One way to make the model smaller."""

    name: str
    bits: int
    """Of a weight."""
    scheme: str = ""
    """llm-compressor's name; empty: pruned."""
    group: int = 0
    """Weights that share a scale; 0: a row."""
    calibrated: bool = False
    """By GPTQ, with the text that the model knows; otherwise rounded to the nearest."""
    heads: int = 0
    """Query heads that pruning leaves."""
    width: int = 0
    """Neurons of a layer's MLP that pruning leaves."""

    @property
    def knows_its_text(self) -> bool:
        """Whether it answers as the model does: what is cut away is forgotten."""
        return bool(self.scheme)


FORMATS = (
    Format("int8", 8, "W8A8"),
    Format("int4-gptq", 4, "W4A16", group=64, calibrated=True),
    Format("int4-asymmetric", 4, "W4A16_ASYM", group=64),  # zero points, as AWQ stores them
    Format("int4-int8", 4, "W4A8", group=64),
    Format("fp8", 8, "FP8_DYNAMIC"),
    Format("pruned", 16, heads=2, width=384),
)

REFUSED = (
    Format("int8-weights", 8, "W8A16", group=64),
    Format("mxfp8", 8, "MXFP8A16"),
    Format("nvfp4", 4, "NVFP4A16"),
)
"""Checkpoints as good as the others, which the backend has no kernels for."""
_ALL = (*FORMATS, *REFUSED)


def quantized_path() -> Path:
    """Return the folder that holds the checkpoints, or will."""
    digest = hashlib.sha256(_SCRIPT.read_bytes() + _LOCK_FILE.read_bytes())
    digest.update(json.dumps([asdict(each) for each in _ALL]).encode())
    return models_path() / f"quantized-{digest.hexdigest()[:12]}"


def ensure_quantized() -> Path:
    """Make the checkpoints unless they are there.

    Returns
    -------
    pathlib.Path
        A folder with one checkpoint for each of `FORMATS` and `REFUSED`, by its name.

    Raises
    ------
    EngineBuildError
        If this machine cannot make them.
    """
    return build_once(quantized_path(), _quantize)


def ensure_quantizer() -> Path:
    """Return the folder of the packages that the quantizer has beside the engine's."""
    digest = hashlib.sha256(b"1\n" + _LOCK_FILE.read_bytes()).hexdigest()[:12]
    return build_once(
        cache() / "quantizer" / digest,
        lambda target: install(target, _LOCK_FILE, "llm-compressor (70 MB to download)"),
    )


def _quantize(folder: Path) -> None:
    packages = f"{ensure_quantizer()}:{ensure_site_packages()}"
    source = ensure_model()
    with tempfile.TemporaryDirectory() as scratch, Progress(f"Quantize {TINY.name}"):
        order = Path(scratch) / "order.json"
        formats = [asdict(each) for each in _ALL]
        order.write_text(json.dumps({"formats": formats, "texts": TINY.paragraphs()}))
        done = subprocess.run(
            [str(ENGINE_PYTHON), str(_SCRIPT), str(order), str(source), str(folder)],
            check=False,
            cwd=scratch,  # llm-compressor writes a log where it stands
            env={
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "HOME": scratch,
                "PYTHONPATH": packages,
                "PYTHONHASHSEED": "0",
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "CUDA_VISIBLE_DEVICES": "",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
        )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise EngineBuildError(f"Quantizing {TINY.name} ended with {done.returncode}:\n{last}")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # pods run as others
