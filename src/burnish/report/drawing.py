"""Inline SVG, piece by piece. Every text is escaped here; colours are classes, so that the page's themes apply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape


def place(value: float) -> str:
    """A coordinate with one decimal, without a trailing zero, so that equal pictures have equal bytes."""
    text = f"{value:.1f}"
    return text.removesuffix(".0").replace("-0", "0") if text in ("-0.0", "0.0") else text.removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear map of data [low, high] to pixels [start, stop]."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.stop - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5, 5 times a power of ten) inside [low, high], about `count` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """A tick as short as it can be; a real minus sign."""
    text = f"{value:.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    elif abs(value) >= 10_000:
        text = f"{value / 1000:.4g}k"
    return text.replace("-", "\u2212")


def widen(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """A range with air on both sides; a single value gets a range around it."""
    if high <= low:
        air = abs(low) * 0.1 or 1.0
        return low - air, high + air
    return low - (high - low) * share, high + (high - low) * share


@dataclass(slots=True)
class Svg:
    """A picture under construction, `width` by `height` user units."""

    width: float
    height: float
    title: str
    pieces: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self.pieces.append(
            f'<line x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}" class="{escape(style)}"/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, style: str, *, radius: float = 0) -> None:
        corner = f' rx="{place(radius)}"' if radius else ""
        size = f'width="{place(max(width, 0))}" height="{place(max(height, 0))}"'
        self.pieces.append(f'<rect x="{place(x)}" y="{place(y)}" {size}{corner} class="{escape(style)}"/>')

    def text(self, x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> None:
        where = f'x="{place(x)}" y="{place(y)}" text-anchor="{anchor}"'
        self.pieces.append(f'<text {where} class="{escape(style)}">{escape(words)}</text>')

    def path(self, data: str, style: str, *, end: str = "") -> None:
        marker = f' marker-end="url(#{escape(end)})"' if end else ""
        self.pieces.append(f'<path d="{data}" class="{escape(style)}"{marker}/>')

    def polyline(self, spots: Sequence[tuple[float, float]], style: str) -> None:
        if len(spots) > 1:
            data = "M" + "L".join(f"{place(x)} {place(y)}" for x, y in spots)
            self.path(data, style)

    def dot(self, x: float, y: float, style: str, *, shape: str = "circle", size: float = 3.6) -> None:
        """A marker. Shapes differ as well as colours, so that no series is told by colour alone."""
        shown = {
            "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
            "triangle": [(0, -1.25), (1.2, 0.9), (-1.2, 0.9)],
        }
        if shape not in shown:
            self.pieces.append(f'<circle cx="{place(x)}" cy="{place(y)}" r="{place(size)}" class="{escape(style)}"/>')
            return
        corners = "L".join(f"{place(x + a * size)} {place(y + b * size)}" for a, b in shown[shape])
        self.path(f"M{corners}Z", style)

    def open(self, hint: str, style: str = "") -> None:
        """Begin a group whose `hint` shows on hover and is read aloud."""
        self.pieces.append(f'<g class="{escape(style)}"><title>{escape(hint)}</title>')

    def close(self) -> None:
        self.pieces.append("</g>")

    def finish(self, *, style: str = "chart", natural: bool = False) -> Markup:
        """The SVG element. `natural` keeps the size in pixels; otherwise it fills its figure."""
        size = f'width="{place(self.width)}" height="{place(self.height)}" ' if natural else ""
        head = f'<svg class="{escape(style)}" role="img" {size}viewBox="0 0 {place(self.width)} {place(self.height)}"'
        return Markup(f'{head} aria-label="{escape(self.title)}">{"".join(self.pieces)}</svg>')
