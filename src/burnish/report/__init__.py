"""One self-contained HTML page about a run: what came in, what was dropped and why, what got better.

Comes in: a run folder, read only, through `runs.RunView`. Goes out: one HTML file without any outside reference. Called
by the command line after a run and by `burnish report`. Steps that are missing or skipped leave their part of the page
out or say so; a recipe with other step names still gets its flow, curves, settings and lineage.
"""

from burnish.report.page import render, write_report

__all__ = ["render", "write_report"]
