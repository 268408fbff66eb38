"""Three kinds of picture: values with intervals, lines over steps, and pairs of histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from burnish.report.drawing import Scale, Svg, tick_label, ticks, widen

LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 12.0, 26.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A value with its interval at a slot of the x axis (a fraction places it beside the slot's middle)."""

    slot: float
    value: float
    low: float | None = None
    high: float | None = None
    style: str = "s-average"
    shape: str = "circle"
    hint: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line over training steps. `style` names the colour, `dashed` the second variant."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture with the words around it, as the templates take it."""

    title: str
    svg: Markup
    note: str = ""
    legend: Sequence[tuple[str, str, str]] = field(default_factory=tuple)


def interval_chart(
    title: str,
    slots: Sequence[str],
    marks: Sequence[Mark],
    *,
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]] = (),
    bands: Sequence[tuple[int, int, str]] = (),
    size: tuple[float, float] = (300, 180),
) -> Markup:
    """Shares (0 to 1) with 95 % intervals, slot by slot, on an axis from 0 to 100 %.

    Args:
        title: read aloud in place of the picture.
        slots: labels of the x axis.
        marks: what is drawn; those without interval get no whisker.
        lines: (style, [(slot, value)]) behind the marks.
        bands: (first slot, last slot, label) shaded behind groups of slots.
    """
    svg = Svg(*size, title)
    width, height = size
    top = TOP + (14 if bands else 0)
    x = Scale(-0.5, max(len(slots), 1) - 0.5, LEFT, width - RIGHT)
    y = Scale(0.0, 1.0, height - BOTTOM, top)
    for index, (first, last, label) in enumerate(bands):
        start, stop = x(first - 0.5), x(last + 0.5)
        svg.rect(start, TOP - 8, stop - start, height - BOTTOM - TOP + 8, "band" if index % 2 == 0 else "band-off")
        svg.text((start + stop) / 2, TOP + 5, label, "axis strong", anchor="middle")
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        svg.line(LEFT, y(tick), width - RIGHT, y(tick), "grid" if tick else "base")
        svg.text(LEFT - 6, y(tick) + 3.5, f"{100 * tick:.0f}\u202f%", "axis", anchor="end")
    for index, label in enumerate(slots):
        svg.text(x(index), height - BOTTOM + 15, label, "axis", anchor="middle")
    for style, spots in lines:
        svg.polyline([(x(a), y(b)) for a, b in spots], f"line soft {style}")
    for mark in marks:
        _mark(svg, mark, x, y)
    return svg.finish()


def _mark(svg: Svg, mark: Mark, x: Scale, y: Scale) -> None:
    at = x(mark.slot)
    svg.open(mark.hint or mark.label)
    if mark.low is not None and mark.high is not None:
        svg.line(at, y(mark.low), at, y(mark.high), f"whisker {mark.style}")
        for end in (mark.low, mark.high):
            svg.line(at - 2.5, y(end), at + 2.5, y(end), f"whisker {mark.style}")
    svg.dot(at, y(mark.value), f"dot {mark.style}", shape=mark.shape)
    if mark.label:
        above = y(mark.high if mark.high is not None else mark.value) - 6
        svg.text(at, above, mark.label, "value", anchor="middle")
    svg.close()


def thin(points: Sequence[tuple[float, float]], most: int = 120) -> tuple[list[tuple[float, float]], int]:
    """At most `most` points: means of equal runs of neighbours, and how many each is the mean of."""
    each = max(1, math.ceil(len(points) / most))
    runs = [points[i : i + each] for i in range(0, len(points), each)]
    return [(sum(a for a, _ in r) / len(r), sum(b for _, b in r) / len(r)) for r in runs], each


def line_chart(title: str, lines: Sequence[Line], *, y_label: str, size: tuple[float, float] = (260, 170)) -> Markup:
    """Lines over training steps; the y axis is fitted to the data."""
    svg = Svg(*size, title)
    width, height = size
    spots = [spot for line in lines for spot in line.points]
    low, high = widen(min(b for _, b in spots), max(b for _, b in spots))
    first, last = min(a for a, _ in spots), max(a for a, _ in spots)
    x = Scale(first, last if last > first else first + 1, LEFT, width - RIGHT)
    y = Scale(low, high, height - BOTTOM, TOP + 8)
    for tick in ticks(low, high, 4):
        svg.line(LEFT, y(tick), width - RIGHT, y(tick), "grid")
        svg.text(LEFT - 6, y(tick) + 3.5, tick_label(tick), "axis", anchor="end")
    svg.line(LEFT, height - BOTTOM, width - RIGHT, height - BOTTOM, "base")
    whole = [t for t in ticks(first, last, 5) if float(t).is_integer()] or [first]
    for tick in whole:
        svg.text(x(tick), height - BOTTOM + 15, tick_label(tick), "axis", anchor="middle")
    svg.text(LEFT - 34, TOP - 2, y_label, "axis")
    svg.text(width - RIGHT, height - 1, "step", "axis", anchor="end")
    for line in lines:
        style = f"line {line.style}" + (" dashed" if line.dashed else "")
        points = [(x(a), y(b)) for a, b in line.points]
        svg.open(line.name)
        svg.polyline(points, style)
        if len(points) == 1:
            svg.dot(*points[0], f"dot {line.style}", size=2.5)
        svg.close()
    return svg.finish()


def shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Share of the values in each bin; bins are closed below, the last one also above."""
    counts = [0] * (len(edges) - 1)
    span = edges[-1] - edges[0]
    for value in values:
        index = int((value - edges[0]) / span * len(counts))
        counts[min(max(index, 0), len(counts) - 1)] += 1
    return [count / len(values) for count in counts] if values else [0.0] * len(counts)


def bin_edges(values: Sequence[float], most: int = 24) -> list[float]:
    """Equal bins over the range of the values; whole numbers with few values get a bin each."""
    low, high = min(values), max(values)
    if all(float(v).is_integer() for v in values) and high - low < 400:
        each = max(1, math.ceil((high - low + 1) / most))
        count = math.ceil((high - low + 1) / each)
        return [low - 0.5 + each * i for i in range(count + 1)]
    if high <= low:
        low, high = widen(low, high)
    return [low + (high - low) * i / most for i in range(most + 1)]


def histogram(
    title: str,
    all_values: Sequence[float],
    chosen: Sequence[float],
    *,
    x_label: str,
    size: tuple[float, float] = (400, 200),
) -> Markup:
    """All values as bars and the chosen ones as an outline, each as shares of its own number of rows."""
    svg = Svg(*size, title)
    width, height = size
    edges = bin_edges([*all_values, *chosen])
    bars, outline = shares(all_values, edges), shares(chosen, edges)
    x = Scale(edges[0], edges[-1], LEFT, width - RIGHT)
    y = Scale(0.0, max([*bars, *outline]) * 1.06 or 1.0, height - BOTTOM, TOP + 8)
    for tick in ticks(0.0, y.high, 4):
        svg.line(LEFT, y(tick), width - RIGHT, y(tick), "grid" if tick else "base")
        svg.text(LEFT - 6, y(tick) + 3.5, f"{tick_label(100 * tick)}\u202f%", "axis", anchor="end")
    for index, share in enumerate(bars):
        start, stop = x(edges[index]), x(edges[index + 1])
        svg.rect(start + 0.5, y(share), stop - start - 1, y(0.0) - y(share), "bar s-all")
    if chosen:
        spots = [(x(edges[0]), y(0.0))]
        for index, share in enumerate(outline):
            spots += [(x(edges[index]), y(share)), (x(edges[index + 1]), y(share))]
        svg.polyline([*spots, (x(edges[-1]), y(0.0))], "line s-chosen")
    for tick in ticks(edges[0], edges[-1], 5):
        svg.text(x(tick), height - BOTTOM + 15, tick_label(tick), "axis", anchor="middle")
    svg.text(LEFT - 34, TOP - 2, "share of rows", "axis")
    svg.text(width - RIGHT, height - 1, x_label, "axis", anchor="end")
    return svg.finish()
