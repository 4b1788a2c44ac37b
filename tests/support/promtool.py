"""Rules proven by `promtool test rules`: series in, recorded series and alerts out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from charts.observability.rulefile import Group

Expected = dict[str, float]


@dataclass(frozen=True)
class Case:
    """What a query gives at a moment, for series that began at 0.

    Series are in promtool's notation: `name{label="value"}` to `0+60x20`. Expected are the samples
    of the query, written the same way; none at all where the dictionary is empty.
    """

    name: str
    series: Mapping[str, str]
    query: str
    expected: Expected
    at: str = "1m"
    interval: str = "1m"
    proves: tuple[str, ...] = ()  # names of rules or alerts

    def as_test(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "interval": self.interval,
            "input_series": [
                {"series": series, "values": values} for series, values in self.series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": self.query,
                    "eval_time": self.at,
                    "exp_samples": [
                        {"labels": labels, "value": value}
                        for labels, value in self.expected.items()
                    ],
                }
            ],
        }


@dataclass(frozen=True)
class Promtool:
    """The program, and a folder of the test's own."""

    program: Path
    folder: Path

    def check(self, text: str) -> None:
        """What Prometheus itself would say of a rule file."""
        self._run(
            "check", "rules", "--lint=all", "--lint-fatal", str(self._write("rules.yaml", text))
        )

    def prove(self, groups: Iterable[Group], cases: Iterable[Case], every: str = "1m") -> None:
        """Run all cases over these rules, which are evaluated so often."""
        chosen = [
            {"name": group.name, "rules": [rule.manifest() for rule in group.rules]}
            for group in groups
        ]
        rules = self._write("rules.yaml", yaml.safe_dump({"groups": chosen}))
        tests = {
            "rule_files": [str(rules)],
            "evaluation_interval": every,
            "fuzzy_compare": True,
            "group_eval_order": [group["name"] for group in chosen],
            "tests": [case.as_test() for case in cases],
        }
        self._run("test", "rules", str(self._write("tests.yaml", yaml.safe_dump(tests))))

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603
            [str(self.program), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
