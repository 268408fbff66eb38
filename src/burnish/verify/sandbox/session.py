"""A notebook in the sandbox: cells run one after the other in one lasting namespace, and can be replayed.

Replay is the snapshot: `fork` runs the journal again in a fresh sandbox and compares what comes out, so that a search
can branch from any cell and go back to any other (Baichuan Alignment, code interpreter: data analysis by depth-first
search; coding and debugging).
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import DataError, WorkerError
from burnish.protocols import Conversation, Executor, Limits

NOTEBOOK = Path(__file__).parent / "inside" / "notebook.py"
# ASSUMED (the report names no limits): an hour, a gigabyte, and answers with pictures in them.
LIMITS = Limits(seconds=3600.0, memory_mib=1024, processes=64, output_kib=16384, disk_mib=256)
PATIENCE = 0.5  # seconds between two interrupts of a cell that does not heed them
INTERRUPTS = 3
TRANSFER = 30.0  # seconds for a file to go in or out
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A frame or a list of dicts that a cell ended in: `rows` of plain values in the order of `columns`.

    Args:
        total: how many rows there are; the first thousand are here.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What came of one cell.

    Args:
        status: `ok`; `error`: it raised, and the session goes on; `time`: it was interrupted, and the session goes
            on; `ended`: the session is over, by a limit or by the cell's own doing.
        value: the `repr` of its last expression, empty when that is None or no expression.
        traceback: with the line numbers of the cell, from the cell's own frames on; for `ended`, why.
        figures: png files that it wrote and figures of matplotlib, by name.
        table: its last expression, when that is a pandas frame or a list of dicts.
        seconds: by the clock.
    """

    code: str
    status: str
    value: str = ""
    stdout: str = ""
    stderr: str = ""
    traceback: str = ""
    figures: Mapping[str, bytes] = field(default_factory=dict)
    table: Table | None = None
    seconds: float = 0.0

    def agrees(self, other: Cell) -> bool:
        """Whether a replay gave the same: status, value, output, table and names of figures; addresses aside."""

        def shown(cell: Cell) -> tuple[Any, ...]:
            texts = (cell.value, cell.stdout, cell.stderr, cell.traceback)
            return (cell.code, cell.status, *(_ADDRESS.sub("0x", text) for text in texts), cell.table, [*cell.figures])

        return shown(self) == shown(other)


class Session:
    """A program that keeps its variables between cells.

    Args:
        executor: where it runs.
        files: in its folder from the start.
        limits: of the whole session; an answer, pictures included, may take `output_kib`.
        seconds: for a cell; then it is interrupted, and ended when it does not heed that.

    Raises:
        WorkerError: for a question after the session has ended.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        files: Mapping[str, bytes] = {},
        limits: Limits = LIMITS,
        seconds: float = 10.0,
    ) -> None:
        self.executor, self.files, self.limits, self.seconds = executor, dict(files), limits, seconds
        self._journal: list[Cell | tuple[str, bytes]] = []
        self._conversation: Conversation = executor.start(NOTEBOOK.read_text(), files=files, limits=limits)
        self.ended = ""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What has run so far and left the session alive."""
        return tuple(one for one in self._journal if isinstance(one, Cell))

    def run(self, code: str, *, seconds: float | None = None) -> Cell:
        """One cell."""
        seconds = self.seconds if seconds is None else seconds
        done = threading.Event()
        clock = threading.Thread(target=self._interrupt, args=(done, seconds), daemon=True)
        clock.start()
        most = (self.limits.output_kib << 10) // 2
        try:
            grace = PATIENCE * (INTERRUPTS + 1)
            told = self._ask({"cell": len(self.cells) + 1, "code": code, "most": most}, seconds + grace)
        except WorkerError as error:
            if self.ended:
                raise
            self.ended = str(error)
            return Cell(code=code, status="ended", traceback=self.ended)
        finally:
            done.set()
            clock.join()
        cell = _cell(code, told)
        self._journal.append(cell)
        return cell

    def put(self, name: str, data: bytes) -> None:
        """Writes a file into the session's folder; it is replayed like a cell."""
        self._served({"put": name, "data": base64.b64encode(data).decode()}, name)
        self._journal.append((name, data))

    def get(self, name: str) -> bytes:
        """A file of the session's folder. Raises DataError when it is not there or too large to bring."""
        most = (self.limits.output_kib << 10) // 2
        return base64.b64decode(self._served({"get": name, "most": most}, name)["data"])

    def fork(self, cells: int | None = None) -> Session:
        """A new session in the state after the first `cells` cells (all of them by default), by replay.

        Raises:
            WorkerError: a cell gave something else than before (the message names it), or was interrupted.
        """
        wanted = len(self.cells) if cells is None else cells
        if not 0 <= wanted <= len(self.cells):
            raise DataError(f"fork: cells is {cells}; this session has run {len(self.cells)}")
        new = Session(self.executor, files=self.files, limits=self.limits, seconds=self.seconds)
        try:
            for one in self._journal:
                if isinstance(one, Cell) and len(new.cells) == wanted:
                    break
                new._replay(one)
        except BaseException:
            new.close()
            raise
        return new

    def _replay(self, one: Cell | tuple[str, bytes]) -> None:
        if not isinstance(one, Cell):
            self.put(*one)
            return
        number = len(self.cells) + 1
        if one.status == "time":
            raise WorkerError(f"cell {number} was interrupted, so its state cannot be had again: fork({number - 1})")
        if not self.run(one.code, seconds=max(self.seconds, 4 * one.seconds)).agrees(one):
            raise WorkerError(
                f"cell {number} gave something else when it was replayed; does it use the clock or unseeded chance?"
            )

    def close(self) -> None:
        """Ends the session; what it left is dropped."""
        self._conversation.stop()
        self.ended = self.ended or "it was closed"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _interrupt(self, done: threading.Event, seconds: float) -> None:
        if done.wait(seconds):
            return
        for _ in range(INTERRUPTS):
            self._conversation.interrupt()
            if done.wait(PATIENCE):
                return

    def _ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        if self.ended:
            raise WorkerError(f"the session has ended: {self.ended}")
        reply = self._conversation.ask(json.dumps(message), seconds=seconds)
        try:
            told = json.loads(reply)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise WorkerError("the session answered with something of its own; was the channel written to?")
        return told

    def _served(self, message: dict[str, Any], name: str) -> dict[str, Any]:
        told = self._ask(message, TRANSFER)
        if "fault" in told:
            raise DataError(f"{name}: {told['fault']}")
        return told


def _cell(code: str, told: dict[str, Any]) -> Cell:
    table = told.get("table")
    try:
        return Cell(
            code=code, status=str(told["status"]), value=str(told["value"]), stdout=str(told["stdout"]),
            stderr=str(told["stderr"]), traceback=str(told["traceback"]), seconds=float(told["seconds"]),
            figures={str(name): base64.b64decode(data) for name, data in told["figures"].items()},
            table=None if table is None else Table(
                columns=tuple(table["columns"]), rows=tuple(map(tuple, table["rows"])), total=int(table["total"])
            ),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorkerError(f"the session answered with something of its own: {error}") from None
