"""The lineage picture: steps as boxes in layers, an arrow from each parent; drawn round by round.

Layers are longest paths; an arrow over several layers passes through invisible stations; the order inside a layer
follows the middle of the neighbours (the method of Sugiyama, a few sweeps); positions are least squares in that order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.report.charts import Figure
from burnish.report.drawing import Svg, place
from burnish.report.flow import KINDS
from burnish.report.reading import Evidence, number, round_of, short_name
from burnish.runs import StepView

BOX, STATION, GAP, HEIGHT, LAYER = 142.0, 8.0, 18.0, 44.0, 74.0
SWEEPS = 12
MOST = 5  # boxes in a layer


@dataclass(slots=True, kw_only=True)
class _Graph:
    """Nodes are step names; stations are ('parent', 'child', layer) triples."""

    layers: list[list[Any]] = field(default_factory=list)
    above: dict[Any, list[Any]] = field(default_factory=dict)
    below: dict[Any, list[Any]] = field(default_factory=dict)
    x: dict[Any, float] = field(default_factory=dict)


def parents_of(evidence: Evidence, step: StepView) -> list[str]:
    """Names of the steps whose rows or weights this one took; without repeats, in the order of its inputs.

    A step that drops nothing leaves what it took, under the same id; of several makers the nearest earlier one counts.
    """
    made: dict[str, str] = {}
    for earlier in evidence.view.steps:
        if earlier.name == step.name:
            break
        if earlier.kind != "skipped":
            made[earlier.id] = earlier.name
    found = [made[parent["id"]] for parent in step.note.get("parents") or [] if parent.get("id") in made]
    return list(dict.fromkeys(found))


def _layered(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> _Graph:
    """Layers by longest path (a source sits right above its first child), with stations on long edges."""
    depth: dict[str, int] = {}
    for node in nodes:  # the recipe's order is a topological order
        depth[node] = max((depth[a] + 1 for a, b in edges if b == node and a in depth), default=0)
    for node in nodes:
        if not any(b == node for _, b in edges) and (children := [depth[b] for a, b in edges if a == node]):
            depth[node] = max(0, min(children) - 1)
    _narrow(nodes, edges, depth)
    graph = _Graph(layers=[[] for _ in range(max(depth.values(), default=-1) + 1)])
    for node in nodes:
        graph.layers[depth[node]].append(node)
        graph.above[node], graph.below[node] = [], []
    for a, b in edges:
        chain: list[Any] = [a, *[(a, b, layer) for layer in range(depth[a] + 1, depth[b])], b]
        for station in chain[1:-1]:
            graph.layers[station[2]].append(station)
        for upper, lower in itertools.pairwise(chain):
            graph.below.setdefault(upper, []).append(lower)
            graph.above.setdefault(lower, []).append(upper)
    return graph


def _narrow(nodes: Sequence[str], edges: Sequence[tuple[str, str]], depth: dict[str, int]) -> None:
    """Move boxes without children down, layer by layer, where more than `MOST` stand side by side."""
    parents = {a for a, _ in edges}
    layer = 0
    while layer <= max(depth.values(), default=-1):
        here = [node for node in nodes if depth[node] == layer]
        leaves = [node for node in here if node not in parents]
        for node in leaves[::-1][: max(0, len(here) - MOST)]:
            depth[node] = layer + 1
        layer += 1


def _order(graph: _Graph) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = graph.above if down else graph.below
        for layer in graph.layers if down else reversed(graph.layers):
            spots = {n: i / max(len(other) - 1, 1) for other in graph.layers for i, n in enumerate(other)}
            middle = {n: sum(spots[m] for m in near.get(n, [])) / max(len(near.get(n, [])), 1) for n in layer}
            wish = {n: middle[n] if near.get(n) else spots[n] for n in layer}
            layer.sort(key=lambda n: wish[n])


def _width(node: Any) -> float:
    return BOX if isinstance(node, str) else STATION


def _pooled(wishes: Sequence[float]) -> list[float]:
    """The nondecreasing sequence nearest to the wishes in least squares (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for wish in wishes:
        blocks.append([wish, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            blocks[-1] = [
                (blocks[-1][0] * blocks[-1][1] + mean * count) / (blocks[-1][1] + count),
                blocks[-1][1] + count,
            ]
    return [mean for mean, count in blocks for _ in range(round(count))]


def _settle(graph: _Graph) -> None:
    """Give each node the x nearest to the mean of its neighbours that keeps the order and the gaps."""
    for layer in graph.layers:
        for index, node in enumerate(layer):
            graph.x[node] = (index - (len(layer) - 1) / 2) * (BOX + GAP)
    for sweep in range(4 * SWEEPS):
        down = sweep % 2 == 0
        near = graph.above if down else graph.below
        for layer in graph.layers if down else reversed(graph.layers):
            offsets, at = [], 0.0
            for index, node in enumerate(layer):
                at += (_width(layer[index - 1]) + _width(node)) / 2 + GAP if index else 0.0
                offsets.append(at)
            wishes = []
            for node, offset in zip(layer, offsets, strict=True):
                close = [graph.x[m] for m in near.get(node, [])] or [graph.x[node]]
                wishes.append(sum(close) / len(close) - offset)
            for node, spot, offset in zip(layer, _pooled(wishes), offsets, strict=True):
                graph.x[node] = spot + offset
    left = min((x - _width(n) / 2 for n, x in graph.x.items()), default=0.0)
    graph.x = {node: x - left + 10 for node, x in graph.x.items()}


def _spot(graph: _Graph, node: Any, layer: int) -> tuple[float, float]:
    return graph.x[node], 10 + layer * LAYER + HEIGHT / 2


def _arrows(svg: Svg, graph: _Graph, edges: Sequence[tuple[str, str]], depth: dict[Any, int]) -> None:
    long = {(a, b) for a, b in edges if depth[b] - depth[a] > 1}
    for a, b in sorted(edges, key=lambda edge: edge not in long):
        chain = [a, *[(a, b, layer) for layer in range(depth[a] + 1, depth[b])], b]
        spots = [_spot(graph, node, depth[a] + i) for i, node in enumerate(chain)]
        x, y = spots[0][0], spots[0][1] + HEIGHT / 2
        data = f"M{place(x)} {place(y)}"
        for index, (to_x, middle) in enumerate(spots[1:], 1):
            to_y = middle - HEIGHT / 2 - (5 if index == len(spots) - 1 else 0)
            half = (y + to_y) / 2
            data += f"C{place(x)} {place(half)} {place(to_x)} {place(half)} {place(to_x)} {place(to_y)}"
            if index < len(spots) - 1:
                data += f"V{place(middle + HEIGHT / 2)}"
                x, y = to_x, middle + HEIGHT / 2
        svg.path(data, "edge far" if (a, b) in long else "edge", end="arrow")


def _box(svg: Svg, step: StepView, spot: tuple[float, float], outside: Sequence[str]) -> None:
    x, y = spot
    left, top = x - BOX / 2, y - HEIGHT / 2
    counts = step.note.get("counts") or {}
    kind = KINDS.get(step.kind, step.kind)
    told = f"{number(counts.get('kept', 0))} rows" if step.kind == "rows" else kind
    come = [
        name.split("/")[-1][3:] if "/" not in name else f"{name.split('/')[0]} {name.split('/')[-1][3:]}"
        for name in outside
    ]
    hint = f"{step.name}: {told}" + (f"; also from {', '.join(come)}" if come else "")
    svg.open(hint)
    svg.rect(left, top, BOX, HEIGHT, f"box k-{step.kind}", radius=5)
    svg.text(left + 9, top + 18, short_name(step)[:20], "name")
    second = told if not come else "‹ " + ", ".join(come)
    svg.text(left + 9, top + 34, second if len(second) <= 24 else second[:23] + "…", "sub from" if come else "sub")
    svg.close()


def lineage(evidence: Evidence) -> list[dict[str, Any]]:
    """Per group of steps: the picture, and the same in words (step, its parents)."""
    parts = []
    for group, steps in evidence.groups:
        names = [step.name for step in steps]
        parents = {step.name: parents_of(evidence, step) for step in steps}
        edges = [(a, b) for b in names for a in parents[b] if a in parents]
        graph = _layered(names, edges)
        _order(graph)
        _settle(graph)
        depth = {node: i for i, layer in enumerate(graph.layers) for node in layer}
        width = max((graph.x[n] + _width(n) / 2 for n in graph.x), default=0.0) + 10
        title = evidence.title(group)
        svg = Svg(width, len(graph.layers) * LAYER - (LAYER - HEIGHT) + 20, f"Lineage, {title}: {len(steps)} steps")
        _arrows(svg, graph, edges, depth)
        for step in steps:
            outside = [name for name in parents[step.name] if name not in parents]
            _box(svg, step, _spot(graph, step.name, depth[step.name]), outside)
        words = [{"step": step.name, "parents": parents[step.name], "round": round_of(step)} for step in steps]
        figure = Figure(title=title, svg=svg.finish(style="graph", natural=True))
        parts.append({"title": title, "figure": figure, "words": words})
    return parts
