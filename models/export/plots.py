"""The plots of a report, as SVG without time and with fixed ids, so that equal numbers give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.categories import CATEGORIES
from models.export.info import CategoryAcceptance

_COLORS = {c.name: tuple(part / 255 for part in c.color) for c in CATEGORIES} | {
    "background": (0.75, 0.77, 0.8),
    "ignore": (0.9, 0.91, 0.93),
}
_INK, _GOOD, _BAD = "#1f2933", "#2f855a", "#c53030"


def class_balance_svg(histogram: Mapping[str, int], instances: Mapping[str, int]) -> bytes:
    """Return bars of each category's share of all pixels, largest first, with its instances beside."""
    rows = sorted(histogram.items(), key=lambda item: -item[1])
    total = sum(histogram.values())
    shares = [count / total for _, count in rows]
    notes = [
        f"{share:.1%}" + (f" · {instances[name]:,} instances" if name in instances else "")
        for (name, _), share in zip(rows, shares, strict=True)
    ]
    return _bars([name for name, _ in rows], shares, notes, [_COLORS[name] for name, _ in rows])


def acceptance_svg(rows: Sequence[CategoryAcceptance], *, few: float) -> bytes:
    """Return bars of each category's accepted share of tries; red below `few`, which a line marks."""
    tried = [(row, row.rate) for row in rows if row.rate is not None]
    rates = [rate for _, rate in tried]
    notes = [f"{rate:.0%} · {row.accepted:,} of {row.tried:,}" for row, rate in tried]
    return _bars(
        [row.category for row, _ in tried],
        rates,
        notes,
        [_BAD if rate < few else _GOOD for rate in rates],
        line=few,
        end=1.0,
    )


def _bars(
    names: Sequence[str],
    values: Sequence[float],
    notes: Sequence[str],
    colors: Sequence[object],
    *,
    line: float | None = None,
    end: float | None = None,
) -> bytes:
    with mpl.rc_context(
        {"svg.hashsalt": "earthsynth", "font.size": 10, "text.color": _INK, "ytick.color": _INK}
    ):
        figure = Figure(figsize=(5.4, 0.4 + 0.27 * len(names)), layout="constrained")
        axes: Axes = figure.add_subplot()
        axes.barh(range(len(names)), values, color=colors, edgecolor="#00000033", linewidth=0.5, height=0.72)
        reach = end or max(values, default=1.0) or 1.0
        for row, (value, note) in enumerate(zip(values, notes, strict=True)):
            note_box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            axes.text(value + reach * 0.015, row, note, va="center", fontsize=9, bbox=note_box)
        axes.set_yticks(range(len(names)), [_plain(name) for name in names])
        axes.set_xlim(0, reach * 1.5)
        axes.invert_yaxis()
        axes.xaxis.set_visible(False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color("#cbd2d9")
        axes.tick_params(length=0)
        if line is not None:
            axes.axvline(line, color=_BAD, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _plain(name: str) -> str:
    """Return a name that matplotlib does not take for mathematics."""
    return name.replace("$", r"\$")
