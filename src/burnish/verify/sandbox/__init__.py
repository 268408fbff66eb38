"""Runs foreign code, and is the only place of Burnish that does. A program and limits come in; a `Ran` goes out.

`find_executor()` chooses among bubblewrap, a container engine and, where a user asks for it, nothing at all.
"""

from burnish.verify.sandbox.bubblewrap import Bubblewrap
from burnish.verify.sandbox.container import Container
from burnish.verify.sandbox.finding import find_executor
from burnish.verify.sandbox.probe import Probe, probe
from burnish.verify.sandbox.session import Cell, Session, Table
from burnish.verify.sandbox.unsafe import Unsafe

__all__ = ["Bubblewrap", "Cell", "Container", "Probe", "Session", "Table", "Unsafe", "find_executor", "probe"]
