"""The engine's Python packages for a cluster that has no registry to pull an engine image from."""

from e2e.engine.building import EngineBuildError, build_once, print_built
from e2e.engine.packages import (
    ENGINE_PYTHON,
    VLLM_VERSION,
    ensure_site_packages,
)
from e2e.engine.production import ensure_production_source, production_version

__all__ = [
    "ENGINE_PYTHON",
    "VLLM_VERSION",
    "EngineBuildError",
    "build_once",
    "ensure_production_source",
    "ensure_site_packages",
    "print_built",
    "production_version",
]
