"""What the servers are asked. The tiny model knows one licence by heart and goes on with it."""

from __future__ import annotations

import random

from benchmarks.techniques.client import Ask
from e2e.models import TINY

PARAGRAPHS = TINY.paragraphs()


def alike(count: int, tokens: int, temperature: float = 0.0) -> list[Ask]:
    """Short prompts, each another beginning, and answers of one length."""
    starts = [" ".join(text.split()[:12]) for text in PARAGRAPHS]
    return [Ask(starts[number % len(starts)], tokens, temperature) for number in range(count)]


def varied(count: int) -> list[Ask]:
    """The same with answers of 16 to 512 tokens, most of them short: what batches wait for."""
    draw = random.Random(1)
    lengths = [min(512, max(16, round(draw.expovariate(1 / 96)))) for _ in range(count)]
    return [Ask(ask.prompt, length) for ask, length in zip(alike(count, 0), lengths, strict=True)]


def shared(count: int, words: int) -> list[Ask]:
    """One long beginning for all, and a short end of each one's own."""
    beginning = long_text(words)
    return [Ask(f"{beginning} {ask.prompt}", ask.tokens) for ask in alike(count, 16)]


def long_text(words: int, skipped: int = 0) -> str:
    """So many words of the licence; 1.8 tokens each."""
    text = " ".join(PARAGRAPHS).split()
    endless = text[skipped % len(text) :] + text * (1 + words // len(text))
    return " ".join(endless[:words])


def repeating(count: int, tokens: int) -> list[Ask]:
    """Text that the answer repeats word by word: the whole licence, then its beginning again."""
    whole = " ".join(PARAGRAPHS[:8])
    again = [" ".join(text.split()[:12]) for text in PARAGRAPHS[:4]]
    return [Ask(f"{whole} {again[number % len(again)]}", tokens) for number in range(count)]
