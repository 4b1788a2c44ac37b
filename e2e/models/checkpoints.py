"""Make the checkpoints, once for each recipe, in one folder that a claim can offer.

    <cache>/models/<hash of what decides them>/tiny-llama
                                              /tiny-llama-b
                                              /broken
                                              /unknown

Training uses one thread: two trainings share two cores better than two threads share one
training, and what comes out is the same every time.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster.progress import Progress, say
from e2e.cluster.settings import cache
from e2e.engine import ENGINE_PYTHON, EngineBuildError, build_once, ensure_site_packages
from e2e.models.recipe import RECIPES, TINY, Recipe

BROKEN = "broken"
"""Name of a checkpoint that looks complete and that no engine can load."""

UNKNOWN = "unknown"
"""Name of a checkpoint of a kind that no engine has heard of."""

_TRAINER = Path(__file__).with_name("train.py")
_SAID_EVERY = 4
"""Of the trainer's lines, one every five seconds, this one in so many is shown."""


def models_path() -> Path:
    """Return the folder that holds the models, or will."""
    digest = hashlib.sha256(_TRAINER.read_bytes())
    for recipe in RECIPES.values():
        digest.update(json.dumps(recipe.order(), sort_keys=True).encode())
    return cache() / "models" / digest.hexdigest()[:12]


def ensure_model(name: str = TINY.name) -> Path:
    """Train one model unless it is there, and return its folder."""
    recipe = RECIPES[name]
    return build_once(models_path() / name, lambda folder: _train(recipe, folder))


def ensure_broken_model() -> Path:
    """Return the folder of a checkpoint whose weights do not fit its configuration.

    Everything that is read before the weights is as it should be, so an engine comes as far as it
    can before it fails: the dearest of the ways in which a checkpoint can be wrong.
    """
    return build_once(models_path() / BROKEN, _break)


def ensure_unknown_model() -> Path:
    """Return the folder of a checkpoint that is refused as soon as its configuration is read."""
    return build_once(models_path() / UNKNOWN, _estrange)


def ensure_models() -> Path:
    """Make all that is missing, and return the folder that holds them."""
    ensure_site_packages()
    with ThreadPoolExecutor() as pool:
        list(pool.map(ensure_model, RECIPES))
    ensure_broken_model()
    ensure_unknown_model()
    return models_path()


def _train(recipe: Recipe, folder: Path) -> None:
    packages = ensure_site_packages()
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": str(packages),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with tempfile.TemporaryDirectory() as scratch, Progress(f"Train {recipe.name}"):
        order = Path(scratch) / "order.json"
        order.write_text(json.dumps(recipe.order()), encoding="utf-8")
        environment["HOME"] = scratch
        lines: list[str] = []
        with subprocess.Popen(
            [str(ENGINE_PYTHON), str(_TRAINER), str(order), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line.rstrip())
                    is_due = line.startswith("step") and len(lines) % _SAID_EVERY == 0
                    if is_due or "answers are right" in line:
                        say(f"  {recipe.name}: {lines[-1]}")
            finally:
                # Has no effect on one that has ended; an interrupt must not leave it.
                process.kill()
        status = process.returncode
    for path in folder.iterdir():
        path.chmod(0o644)  # weights are written for their owner alone, and pods run as others
    if status:
        last = "\n".join(lines[-15:])
        raise EngineBuildError(f"Training {recipe.name} ended with {status}:\n{last}")


def _break(folder: Path) -> None:
    size = json.loads((ensure_model() / "config.json").read_text())["intermediate_size"]
    _copy_with(folder, intermediate_size=2 * size)


def _estrange(folder: Path) -> None:
    _copy_with(folder, model_type="nobody", architectures=["NobodyForCausalLM"])


def _copy_with(folder: Path, **changes: object) -> None:
    """Copy the first model, its configuration changed."""
    for source in ensure_model().iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
