"""What the tiny models are made of, and what they can be asked.

Each knows one licence by heart. A prompt that begins one of its paragraphs is continued in the
licence's own words, so a test can tell an answer from noise, and each names itself, so a test can
tell which of them answered.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from e2e.engine import EngineBuildError

LICENCES = Path("/usr/share/common-licenses")

IDENTITY_QUESTION = "Which model are you?"
"""A chat message that each model answers with its own name."""

SHORTEST_PARAGRAPH = 12
"""Words; a heading says nothing that could be continued."""


class Prompt(NamedTuple):
    """The first words of a paragraph and the words that follow."""

    text: str
    continuation: str
    """What a greedy answer begins with, for completions and for chat alike."""


@dataclass(frozen=True)
class Recipe:
    """One tiny model."""

    name: str
    licence: str
    """File name in `LICENCES`."""
    title: str
    """The licence as the model calls it."""
    prompts: tuple[Prompt, ...]
    seed: int = 1
    vocabulary: int = 768
    width: int = 192
    layers: int = 3
    shapes: tuple[tuple[int, int], ...] = ((6, 128), (6, 128), (2, 384))
    """Rows and tokens of the batches, in turn: many beginnings to learn, and some long texts.

    Small ones: to know a text by heart takes many steps rather than good gradients.
    """
    steps: int = 700
    learning_rate: float = 2e-3

    @property
    def identity(self) -> str:
        """What the model says when it is asked `IDENTITY_QUESTION`."""
        return f"I am {self.name}, and I know the {self.title} by heart."

    def paragraphs(self) -> list[str]:
        """Return the licence's paragraphs, each on one line."""
        path = LICENCES / self.licence
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise EngineBuildError(
                f"{path} is missing and the model learns from it: Debian's package base-files "
                "brings it."
            ) from error
        lines = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
        return [line for line in lines if len(line.split()) >= SHORTEST_PARAGRAPH]

    def order(self) -> dict[str, Any]:
        """Return all that training needs, ready for JSON."""
        return {
            **asdict(self),
            "paragraphs": self.paragraphs(),
            "answers": {IDENTITY_QUESTION: self.identity},
        }


TINY = Recipe(
    name="tiny-llama",
    licence="Apache-2.0",
    title="Apache License",
    prompts=(
        Prompt('"Legal Entity" shall mean', "the union of the acting entity"),
        Prompt('"Derivative Works" shall mean any work,', "whether in Source or Object form"),
        Prompt('"Contribution" shall mean any work of authorship,', "including the original"),
        Prompt("Licensed under the Apache License, Version 2.0", '(the "License"); you may not'),
        Prompt("6. Trademarks. This License does not grant", "permission to use the trade names"),
        Prompt("You may add Your own copyright statement", "to Your modifications and may"),
    ),
)

TINY_B = Recipe(
    name="tiny-llama-b",
    licence="MPL-2.0",
    title="Mozilla Public License",
    prompts=(
        Prompt('1.7. "Larger Work" means a work', "that combines Covered Software with other"),
        Prompt('1.9. "Licensable" means having the right', "to grant, to the maximum extent"),
        Prompt('1.13. "Source Code Form" means the form', "of the work preferred for making"),
    ),
    seed=2,
)

RECIPES = {recipe.name: recipe for recipe in (TINY, TINY_B)}
