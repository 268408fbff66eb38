"""Sessions: state, errors, pictures, tables, time, and replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from burnish.errors import DataError, WorkerError
from burnish.verify.sandbox import Bubblewrap, Session, Table, Unsafe, probe

FOUND = probe(tools=False)
EXECUTOR = Bubblewrap() if FOUND.isolated else Unsafe()


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(EXECUTOR, files={"numbers.csv": b"a,b\n1,2\n3,4\n"}) as session:
        yield session


def test_variables_stay_and_the_last_expression_is_the_value(session: Session) -> None:
    first = session.run("x = 20\nprint('out')\nimport sys; print('err', file=sys.stderr)\nx * 2 + 2")
    assert (first.status, first.value, first.stdout, first.stderr) == ("ok", "42", "out\n", "err\n")
    assert session.run("x += 1").value == "" and session.run("x").value == "21"
    assert session.run("_").value == "21"
    assert session.run("import subprocess; subprocess.run(['echo', 'sub']); None").stdout == "sub\n"
    assert [cell.status for cell in session.cells] == ["ok"] * 5


def test_a_traceback_tells_the_lines_of_the_cell(session: Session) -> None:
    session.run("def f(x):\n    return 1 / x")
    told = session.run("a = 1\n\nf(a - 1)")
    assert told.status == "error"
    assert told.traceback.splitlines()[1:] == [
        '  File "<cell 2>", line 3, in <module>', "    f(a - 1)", '  File "<cell 1>", line 2, in f',
        "    return 1 / x", "           ~~^~~", "ZeroDivisionError: division by zero",
    ]  # fmt: skip
    assert "SyntaxError" in session.run("def g(:").traceback
    assert session.run("import sys; sys.exit(3)").traceback.strip().endswith("SystemExit: 3")
    assert session.run("a").value == "1", "the session goes on"


def test_files_in_pictures_and_tables_out(session: Session) -> None:
    assert session.run("open('numbers.csv').readline()").value == "'a,b\\n'"
    session.put("deep/er.txt", b"text")
    assert session.run("open('deep/er.txt').read()").value == "'text'" and session.get("deep/er.txt") == b"text"
    with pytest.raises(DataError, match=r"absent\.txt: is not there"):
        session.get("absent.txt")
    drawn = session.run("_ = open('a.png', 'wb').write(b'not really')")
    assert drawn.figures == {"a.png": b"not really"} and session.run("1").figures == {}
    table = session.run("[{'n': 1, 'm': 'x'}, {'n': 2.5}]").table
    assert table == Table(columns=("n", "m"), rows=((1, "x"), (2.5, None)), total=2)
    assert session.run("[{'i': i} for i in range(3000)]").table.total == 3000


def test_a_frame_is_a_table(session: Session) -> None:
    pytest.importorskip("pandas")
    table = session.run("import pandas as pd\npd.read_csv('numbers.csv')", seconds=60.0).table
    assert table == Table(columns=("a", "b"), rows=((1, 2), (3, 4)), total=2)


def test_a_figure_of_matplotlib_comes_out(session: Session) -> None:
    """With matplotlib where there is one, else with a module that has its four functions."""
    stand_in = """
import sys, types
try:
    import matplotlib.pyplot as plt
except ImportError:
    plt = types.ModuleType('matplotlib.pyplot'); plt.open = []
    class Figure:
        def savefig(self, file, format): file.write(b'\\x89PNG' + format.encode())
    plt.plot = lambda *a: plt.open.append(1)
    plt.get_fignums = lambda: list(plt.open)
    plt.figure = lambda n: Figure()
    plt.close = lambda all: plt.open.clear()
    sys.modules['matplotlib.pyplot'] = plt
"""
    assert session.run(stand_in, seconds=60.0).status == "ok"
    figures = session.run("plt.plot([1, 2])", seconds=60.0).figures
    assert list(figures) == ["cell-2-figure-1.png"] and figures["cell-2-figure-1.png"].startswith(b"\x89PNG")
    assert session.run("1").figures == {}


def test_a_cell_that_takes_too_long_is_interrupted_and_the_session_kept(session: Session) -> None:
    session.run("x = 7")
    slow = session.run("x = 8\nwhile True:\n    pass", seconds=0.3)
    assert slow.status == "time" and 'File "<cell 2>", line ' in slow.traceback and "main.py" not in slow.traceback
    assert slow.traceback.strip().endswith("KeyboardInterrupt")
    assert session.run("x").value == "8"


def test_a_cell_that_heeds_no_interrupt_ends_the_session(session: Session) -> None:
    gone = session.run("import signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass", seconds=0.2)
    assert gone.status == "ended" and "limit on time" in gone.traceback and session.cells == ()
    with pytest.raises(WorkerError, match="the session has ended"):
        session.run("1")
    again = session.fork()
    assert again.run("1").value == "1"
    again.close()


def test_a_cell_that_leaves_ends_the_session(session: Session) -> None:
    assert session.run("import os; os._exit(3)").traceback.count("status 3") == 1
    assert session.ended


def test_a_search_branches_and_goes_back(session: Session) -> None:
    """Depth first, by replay: two branches from one state, then back to the state before it."""
    session.run("items = [3, 1, 2]")
    session.put("more.txt", b"9")
    session.run("items.append(int(open('more.txt').read()))")
    session.run("raise ValueError('a wrong step')")
    left, right, back = session.fork(), session.fork(2), session.fork(1)
    left.run("items.sort()")
    right.run("items.reverse()")
    assert left.run("items").value == "[1, 2, 3, 9]" and right.run("items").value == "[9, 2, 1, 3]"
    assert back.run("items").value == "[3, 1, 2]" and session.run("items").value == "[3, 1, 2, 9]"
    assert [len(one.cells) for one in (left, right, back)] == [5, 4, 2]
    for one in (left, right, back):
        one.close()
    with pytest.raises(DataError, match="cells is 9"):
        session.fork(9)


def test_a_replay_that_differs_is_told(session: Session) -> None:
    session.run("import os")
    session.run("object()")  # its address may differ
    session.fork().close()
    session.run("os.urandom(8)")
    with pytest.raises(WorkerError, match="cell 3 gave something else"):
        session.fork()
    session.fork(2).close()
    session.run("while True: pass", seconds=0.2)
    with pytest.raises(WorkerError, match=r"cell 4 was interrupted.*fork\(3\)|cell 3 gave something else"):
        session.fork()
