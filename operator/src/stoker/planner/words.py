"""Numbers as people read them, for reasons and tables."""

from stoker.model.sizing import GIB


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.1f} GiB"


def seconds(time: float) -> str:
    """A duration with two significant digits and a fitting unit."""
    if time < 1:
        return f"{time * 1000:.3g} ms"
    return f"{time:.3g} s"


def dollars(price: float | None) -> str:
    """A price, or that there is none."""
    return "no price" if price is None else f"${price:.2f}"


def count(amount: int, noun: str) -> str:
    """One GPU, two GPUs."""
    return f"{amount} {noun}" if amount == 1 else f"{amount:,} {noun}s"
