"""Kill a job of many requests at random moments: no completed reply lost, none asked for twice, results as unbroken.

    python bench/kill_requests.py [--kills 200] [--requests 2000] [--seed 0] [--json]

A local server counts what reaches it. Each trial starts a job in a process of its own, kills it (`kill -9`) at a random
moment, looks at the store, and lets the same command end. Checked: all that the job had handed on is in the store;
sent again is at most what was in flight at the kill; nothing else is sent twice; the rows equal those of a job nobody
killed; the store's file is sound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

IN_FLIGHT = 32


def job(url: str, path: Path, count: int, handed_on: Any = None) -> dict[str, str]:
    """Ask `count` questions with the store at `path`; each row that is handed on is written as a line at once."""
    from burnish.llm.requests import Endpoint, Pacing, Request, Store, ask_all, run
    from burnish.records import Message, Sampling

    endpoint = Endpoint.parse(f"{url}#toy", pacing=Pacing(start=IN_FLIGHT, most=IN_FLIGHT))
    sampling = Sampling(temperature=1.0, max_new_tokens=8)
    asked = (
        Request(model=endpoint.identity, sampling=sampling, messages=(Message(role="user", content=str(number)),))
        for number in range(count)
    )

    async def all_of_it() -> dict[str, str]:
        rows = {}
        with Store(path) as store:
            async for request, reply in ask_all(asked, endpoint, store=store):
                rows[request.messages[0].content] = reply.text
                if handed_on is not None:
                    print(request.messages[0].content, file=handed_on, flush=True)
        return rows

    return run(all_of_it())


def trial(server: Any, folder: Path, *, count: int, rng: random.Random) -> list[str]:
    """One kill; what went wrong, in words."""
    folder.mkdir(parents=True)
    path, told = folder / "requests.sqlite", folder / "handed_on"
    before = len(server.bodies)
    command = [sys.executable, __file__, "--job", server.url, str(path), str(count), str(told)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    share, limit = rng.random(), time.monotonic() + 120
    while len(server.bodies) - before < share * count and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    time.sleep(0.1)  # what was in flight reaches the server's end
    first = Counter(body["messages"][0]["content"] for body in server.bodies[before:])
    handed = told.read_text().split("\n")[:-1] if told.exists() else []
    kept = set()
    if path.exists():
        with sqlite3.connect(path) as base:
            sound = base.execute("pragma integrity_check").fetchone()[0]
            try:
                kept = {
                    json.loads(row[0])["messages"][0]["content"] for row in base.execute("select request from asked")
                }
            except sqlite3.OperationalError:
                sound = "ok" if not handed else "no table"
    else:
        sound = "ok"
    middle = len(server.bodies)
    done = subprocess.run(command[:-1], capture_output=True, text=True)
    again = Counter(body["messages"][0]["content"] for body in server.bodies[middle:])
    rows = json.loads(done.stdout) if done.returncode == 0 else done.stderr[-500:]
    wrong = {
        "the file is damaged": sound != "ok",
        "handed on and not kept": not set(handed) <= kept,
        "handed on twice": len(handed) != len(set(handed)),
        "kept and sent again": bool(kept & set(again)),
        "sent again more than was in flight": len(set(first) & set(again)) > IN_FLIGHT,
        "sent twice within a go": max([*first.values(), *again.values()], default=1) > 1,
        f"other rows: {str(rows)[:300]}": rows != {str(i): f"re: {i}" for i in range(count)},
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        url, path, count, *told = asked.job
        out = open(told[0], "a") if told else None  # noqa: SIM115 (for the life of the process)
        print(json.dumps(job(url, Path(path), int(count), out)))
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.llm.requests.server import said, serving

    rng = random.Random(asked.seed)

    async def answer(body: dict[str, Any]) -> Any:
        await asyncio.sleep(rng.uniform(0.0, 0.02))
        return said(f"re: {body['messages'][0]['content']}")

    wrong: list[str] = []
    with serving(lambda body, _: answer(body)) as server, tempfile.TemporaryDirectory() as folder:
        for number in range(asked.kills):
            wrong += trial(server, Path(folder) / str(number), count=asked.requests, rng=rng)
            server.bodies.clear()
    detail = (
        f"{asked.kills} kills of {asked.requests:,} requests, {IN_FLIGHT} in flight; {Counter(wrong) or 'all well'}"
    )
    row = {"name": "kills_that_lost_or_repeated", "value": len(wrong), "bar": 0, "holds": not wrong, "detail": detail}
    print(json.dumps({"bench": "kill_requests", "rows": [row]}) if asked.json else f"{row['name']}: {detail}")


if __name__ == "__main__":
    main()
