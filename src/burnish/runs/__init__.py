"""Where everything is written, and why. A recipe calls `run.step(...)`; a kill loses nothing; any row can be traced.

Comes in: step functions, handles of earlier steps, settings. Goes out: folders of rows and weights that explain
themselves. Who calls: recipes and the command line; rooms above use `parallel`, `compute` and `Outcome`.
"""

from burnish.runs.compute import Compute, choose_compute, compute, computing
from burnish.runs.handles import Outcome, Rows
from burnish.runs.identity import Runtime, differences, identity, version
from burnish.runs.journal import SqliteJournal
from burnish.runs.lineage import Ancestor, RunView, StepView
from burnish.runs.redo import redo
from burnish.runs.settings import Source, nearest, override, sources
from burnish.runs.step import Call, Listener, Run
from burnish.runs.workers import parallel, stop_workers

__all__ = [
    "Ancestor",
    "Call",
    "Compute",
    "Listener",
    "Outcome",
    "Rows",
    "Run",
    "RunView",
    "Runtime",
    "Source",
    "SqliteJournal",
    "StepView",
    "choose_compute",
    "compute",
    "computing",
    "differences",
    "identity",
    "nearest",
    "override",
    "parallel",
    "redo",
    "sources",
    "stop_workers",
    "version",
]
