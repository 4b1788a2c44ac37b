"""Requests that go on in the background while something is done to the cluster.

Streams and unary requests are separate crowds, each of a fixed size, so that at any moment it is
known how many of either are in flight. The client does not retry: what fails, failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.load import BackgroundLoad, ClosedLoop, Mix, Outcome, Target, Together

if TYPE_CHECKING:
    from e2e.load import Record

LONGEST_RUN_SECONDS = 4 * 3600.0


class Traffic(BackgroundLoad):
    """So many streams and so many unary requests at any time, until stopped."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        streams: int,
        unary: int,
        prompts: tuple[str, ...],
        stream_tokens: int = 300,
        unary_tokens: int = 32,
        total_seconds: float = 300.0,
    ) -> None:
        target = Target(url, model, total_seconds=total_seconds, silent_seconds=total_seconds)
        crowds = []
        for users, share in ((streams, 1.0), (unary, 0.0)):
            mix = Mix(
                unlike(prompts),
                stream_share=share,
                unary_tokens=unary_tokens,
                stream_tokens=stream_tokens,
            )
            if users:
                crowds.append(ClosedLoop(mix, users, LONGEST_RUN_SECONDS))
        super().__init__(target, Together(tuple(crowds)))

    def wait_streaming(self, count: int, seconds: float = 120) -> None:
        """Wait until so many streams have sent their first token and are still going."""
        self.wait_until(
            lambda flying: (
                sum(r.kind == "stream" and r.first_token is not None for r in flying) >= count
            ),
            seconds=seconds,
        )


def unlike(prompts: tuple[str, ...], count: int = 997) -> tuple[str, ...]:
    """Prompts that begin differently: equal beginnings all go to the replica that knows them."""
    return tuple(f"{n * 7919 % count} {prompts[n % len(prompts)]}" for n in range(count))


def lost(records: list[Record]) -> list[Record]:
    """Requests that did not end complete."""
    return [record for record in records if record.outcome is not Outcome.COMPLETE]


def describe(records: list[Record], limit: int = 5) -> str:
    """The first few losses in words, for an assertion's message."""
    lines = [
        f"#{r.number} {r.kind}: {r.outcome.value}, status {r.status}, "
        f"{r.completion_tokens}/{r.expected_tokens} tokens, {r.error}"
        for r in records[:limit]
    ]
    return f"{len(records)} requests were lost:\n" + "\n".join(lines)
