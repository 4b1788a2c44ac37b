"""Cost against attainment, one plot per trace."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from benchmarks.autoscale.report import Replay
from benchmarks.autoscale.sweep import BOUNDS, STOKERS, Run

mpl.use("svg")
# The same bytes for the same numbers, and text as text.
mpl.rcParams.update({"svg.hashsalt": "stoker", "svg.fonttype": "none", "font.size": 8})

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of what it draws with

_LOWEST = 0.4  # attainment that is still drawn


def draw(replay: Replay, folder: Path) -> Path:
    """Write `<trace>.svg`; a point is a run, a curve one policy's runs by rising cost."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    policies = list(dict.fromkeys(run.policy for run in replay.runs))
    for place, policy in enumerate(policies):
        runs = sorted(
            (run for run in replay.runs if run.policy == policy and run.attained >= _LOWEST),
            key=lambda run: run.accelerator_h,
        )
        if not runs:
            continue
        own, bound = policy in STOKERS, policy in BOUNDS
        axes.plot(
            [run.attained * 100 for run in runs],
            [run.accelerator_h for run in runs],
            color="black" if own or bound else f"C{place % 10}",
            linestyle="-" if own else "--" if bound else ("-", "-.")[place // 10 % 2],
            linewidth=1.8 if own else 0.8,
            marker="*" if own else ("os^Dvx+P"[place % 8]),
            markersize=7 if own else 3.5,
            label=policy,
            alpha=1 if own or bound else 0.75,
        )
        if policy == "stoker":
            for run in runs:
                axes.annotate(
                    _parameter(run),
                    (run.attained * 100, run.accelerator_h),
                    textcoords="offset points",
                    xytext=(-4, 5),
                    ha="right",
                )
    axes.set_title(replay.trace)
    axes.set_xlabel("requests within both targets, %")
    axes.set_ylabel("accelerator-hours billed")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    path = folder / f"{_file_name(replay.trace)}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return path


def _parameter(run: Run) -> str:
    return "default" if run.parameter is None else f"{run.parameter:g}"


def _file_name(trace: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in trace).replace("--", "-")
