"""One picture of all differences: a row of panels for each real share, a line for each comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.evaluation.bootstrap import Interval
from models.evaluation.report import Findings

_MOST_PANELS = 6  # the mean and the first five categories
_UNTOLD, _BETTER, _WORSE = "#8a8a8a", "#1a7f37", "#c0392b"


def draw_differences(findings: Mapping[float, Findings], path: Path) -> None:
    """Write a PNG: points with 95 % intervals in points of IoU, filled and coloured where 0 is outside."""
    first = next(iter(findings.values()))
    columns = [len(first.names) - 1, *range(len(first.names) - 1)][:_MOST_PANELS]
    rows = len(first.differences)
    size = (2.2 + 1.6 * len(columns), 0.6 + (0.5 + 0.24 * rows) * len(findings))
    figure = Figure(figsize=size, dpi=90, layout="constrained")
    grid = figure.subplots(len(findings), len(columns), sharex="col", sharey=True, squeeze=False)
    for panels, (share, found) in zip(grid, findings.items(), strict=True):
        for panel, column in zip(panels, columns, strict=True):
            _draw_panel(panel, [difference.intervals[column] for difference in found.differences])
            panel.set_title(f"{found.names[column]}, {100 * share:g} % real", fontsize=8)
        panels[0].set_yticks(range(rows), [f"{d.arm} - {d.reference}" for d in found.differences])
    grid[0][0].invert_yaxis()
    figure.supxlabel("difference of IoU on real test tiles, points, 95 % intervals", fontsize=9)
    figure.savefig(path)


def _draw_panel(panel: Axes, found: list[Interval]) -> None:
    panel.axvline(0, color="#444444", linewidth=0.8)
    for place, interval in enumerate(found):
        told = interval.low > 0 or interval.high < 0
        colour = _UNTOLD if not told else _BETTER if interval.value > 0 else _WORSE
        panel.plot(100 * np.array([interval.low, interval.high]), [place, place], color=colour)
        panel.plot(100 * interval.value, place, "o", ms=4, color=colour, fillstyle="full" if told else "none")
    panel.tick_params(labelsize=7)
    panel.grid(axis="x", linewidth=0.3)
