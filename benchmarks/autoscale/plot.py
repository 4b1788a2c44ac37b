"""Cost against attainment, one plot per trace."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from benchmarks.autoscale.report import Replay
from benchmarks.autoscale.sweep import BOUNDS, STOKER, STOKERS, Run

mpl.use("svg")
# The same bytes for the same numbers, and text as text.
mpl.rcParams.update({"svg.hashsalt": "stoker", "svg.fonttype": "none", "font.size": 8})

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of what it draws with

_WORST, _LEAST = 0.5, 1e-4  # shares of requests that miss a target, as far as they are drawn


def draw(replay: Replay, folder: Path) -> Path:
    """Write `<trace>.svg`; a point is a run, a curve a policy's frontier."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for place, policy in enumerate(dict.fromkeys(run.policy for run in replay.runs)):
        own, bound = policy == STOKER, policy in BOUNDS
        colour = "black" if bound or policy in STOKERS else f"C{place % 10}"
        marker = "*" if own else "os^Dvx+P"[place % 8]
        runs = [run for run in replay.runs if run.policy == policy and missed(run) <= _WORST]
        corners = [each for each in replay.frontier(policy) if 1 - each.attained <= _WORST]
        if not runs:
            continue
        axes.plot(
            [max(_LEAST, 1 - each.attained) * 100 for each in corners],
            [each.cost for each in corners],
            color=colour,
            linestyle="-" if own else "--" if bound else ("-", "-.")[place // 10 % 2],
            linewidth=1.8 if own else 0.8,
            marker=marker,
            markersize=8 if own else 4,
            label=policy,
        )
        others = [run for run in runs if run.label not in {each.label for each in corners}]
        axes.plot(
            [missed(run) * 100 for run in others],
            [run.accelerator_h for run in others],
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3,
            alpha=0.4,
        )
        if policy == STOKER:
            for run in runs:
                axes.annotate(
                    _parameter(run),
                    (missed(run) * 100, run.accelerator_h),
                    textcoords="offset points",
                    xytext=(-5, 5),
                    ha="right",
                    weight="bold",
                )
    axes.set_title(replay.trace)
    axes.set_xlabel("requests that miss a target, % (right is better)")
    axes.set_ylabel("accelerator-hours billed (down is better)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    path = folder / f"{_file_name(replay.trace)}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return path


def missed(run: Run) -> float:
    """Share of requests that missed a target, as it is drawn."""
    return max(_LEAST, 1 - run.attained)


def _parameter(run: Run) -> str:
    return "default" if run.parameter is None else f"{run.parameter:g}"


def _file_name(trace: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in trace).replace("--", "-").lower()
