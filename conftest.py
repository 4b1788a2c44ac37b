"""What holds for every test: in continuous integration nothing is skipped."""

from __future__ import annotations

import os

import pytest

_CI = os.environ.get("CI", "").lower() in {"1", "true"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> object:
    """Turn a skipped test into a failed one."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> object:
    """Turn a skipped module into a failed one."""
    return _refuse_skip((yield))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> object:
    if _CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and in continuous integration nothing is: {report.longrepr}"
    return report
