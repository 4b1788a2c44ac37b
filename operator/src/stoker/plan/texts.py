"""Words for a status, which stays below 16 KiB whatever they say."""


def cut(text: str, limit: int) -> str:
    """At most so many characters; what was cut off shows."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
