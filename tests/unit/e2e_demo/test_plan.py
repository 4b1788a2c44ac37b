"""The long run does what it is asked for, the kinds in turn."""

from __future__ import annotations

from collections import Counter

from benchmarks import no_loss


def planned(*arguments: str) -> list[str]:
    return no_loss.plan(no_loss.parse(list(arguments)))


def test_promised_counts_are_the_default() -> None:
    assert Counter(planned()) == no_loss.COUNTS


def test_kinds_take_turns() -> None:
    assert sorted(planned()[:6]) == sorted(no_loss.COUNTS)


def test_short_is_one_of_each_unless_said_otherwise() -> None:
    assert set(Counter(planned("--short")).values()) == {1}
    assert Counter(planned("--short", "--rollouts", "3", "--drains", "0"))["rollouts"] == 3
    assert "drains" not in planned("--short", "--drains", "0")
