"""Draws a result's chart as SVG. The same numbers give the same bytes."""

# pyright: reportUnknownMemberType=false
# matplotlib does not annotate its keyword arguments.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.harness import Bars, Lines, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHERS, LIMIT = "#2563eb", "#a3a3a3", "#dc2626"
COLORS = [OURS, "#f59e0b", "#10b981", "#a855f7", "#64748b", "#ec4899"]
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "benchmarks",  # otherwise the ids in the file are random
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(chart: Bars | Lines, path: Path) -> None:
    """Write *chart* to the file *path*."""
    with matplotlib.rc_context(STYLE):
        height = 0.9 + 0.32 * len(chart.values) if isinstance(chart, Bars) else 3.6
        figure = Figure(figsize=(7.5, height), layout="constrained")
        axes = figure.add_subplot()
        if isinstance(chart, Bars):
            _bars(axes, chart)
        else:
            _lines(axes, chart)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, metadata={"Date": None})


def _bars(axes: Axes, chart: Bars) -> None:
    names, values = list(chart.values), list(chart.values.values())
    compared = any("dp_async" in name for name in names)  # otherwise all bars belong to the package
    colors = [OURS if "dp_async" in name or not compared else OTHERS for name in names]
    bars = axes.barh(names, values, color=colors)
    behind = {
        "facecolor": "white",
        "edgecolor": "none",
        "pad": 1,
    }  # keeps a limit's line off the label
    axes.bar_label(bars, labels=[shown(value) for value in values], padding=4, bbox=behind)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(chart.axis)
    for limit in chart.limits:
        axes.axvline(limit, color=LIMIT, linestyle=":", linewidth=1.2)


def _lines(axes: Axes, chart: Lines) -> None:
    for index, (name, points) in enumerate(chart.series.items()):
        xs, ys = zip(*points, strict=True)
        color = COLORS[index % len(COLORS)]
        axes.plot(xs, ys, marker="o", markersize=4, color=color, label=name)
    if "x" in chart.log:
        axes.set_xscale("log")
    if "y" in chart.log:
        axes.set_yscale("log")
    else:
        highest = max(y for points in chart.series.values() for _, y in points)
        axes.set_ylim(0, 1.1 * max(highest, *chart.limits, 0))
    for limit in chart.limits:
        axes.axhline(limit, color=LIMIT, linestyle=":", linewidth=1.2)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    if len(chart.series) > 1:
        axes.legend(frameon=False, fontsize="small")
