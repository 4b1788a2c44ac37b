"""Tiny models that real engines serve, and two that they cannot."""

from e2e.models.checkpoints import (
    BROKEN,
    UNKNOWN,
    ensure_broken_model,
    ensure_model,
    ensure_models,
    ensure_unknown_model,
    models_path,
)
from e2e.models.quantized import (
    FORMATS,
    REFUSED,
    Format,
    ensure_quantized,
    ensure_quantizer,
    quantized_path,
)
from e2e.models.recipe import IDENTITY_QUESTION, RECIPES, TINY, TINY_B, Prompt, Recipe

PROMPTS = TINY.prompts
"""What the first model is asked: (first words, what a greedy answer continues with)."""

__all__ = [
    "BROKEN",
    "FORMATS",
    "IDENTITY_QUESTION",
    "PROMPTS",
    "RECIPES",
    "REFUSED",
    "TINY",
    "TINY_B",
    "UNKNOWN",
    "Format",
    "Prompt",
    "Recipe",
    "ensure_broken_model",
    "ensure_model",
    "ensure_models",
    "ensure_quantized",
    "ensure_quantizer",
    "ensure_unknown_model",
    "models_path",
    "quantized_path",
]
