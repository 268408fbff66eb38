"""Generate and judge together, against stage by stage: two servers of equal, randomised service time.

Two HTTP servers, each a process of its own, answer after an exponential time of the given mean that depends on the
item alone, so both ways wait equally long. Each way asks the same questions with the same number in flight at a server.
Two equal stages could reach 2.0 at most. The results of both ways must be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import time
from typing import Any

import aiohttp
from aiohttp import web

from burnish.llm.flow import Fate, Left, Stage, stream

BAR = 1.6


def serve(mean: float, seed: int, port: Any) -> None:
    """A server that answers {"id", "text"} after a while; its port goes through the pipe."""

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        await asyncio.sleep(random.Random(f"{seed}/{asked['id']}").expovariate(1 / mean))
        return web.json_response({"id": asked["id"], "text": f"{asked['text']}/{seed}", "score": asked["id"] % 5})

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
        await asyncio.Event().wait()

    asyncio.run(run())


def stages(session: aiohttp.ClientSession, ports: list[int], at_once: int) -> list[Stage]:
    async def ask(port: int, value: dict[str, Any]) -> dict[str, Any]:
        async with session.post(f"http://127.0.0.1:{port}/", json={"id": value["id"], "text": value["text"]}) as reply:
            return await reply.json()

    async def generate(value: dict[str, Any]) -> Any:
        return await ask(ports[0], value)

    async def judge(value: dict[str, Any]) -> Any:
        judged = await ask(ports[1], value)
        return judged if judged["score"] else Left(reason="poor")  # the filter

    return [
        Stage(name="generate", work=generate, at_once=at_once),
        Stage(name="judge", work=judge, at_once=at_once),
    ]


async def through(items: list[Any], chosen: list[Stage]) -> tuple[list[Fate], float]:
    start = time.perf_counter()
    fates = [fate async for fate in stream(items, chosen)]
    return fates, time.perf_counter() - start


async def compare(ports: list[int], count: int, at_once: int) -> tuple[float, float, bool]:
    """Seconds of the two ways, and whether their rows are equal."""
    items = [{"id": number, "text": f"item {number}"} for number in range(count)]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        first, second = stages(session, ports, at_once)
        await through(items[:at_once], [first, second])  # connections are open
        made, one = await through(items, [first])
        judged, two = await through([fate.value for fate in made], [second])
        together, both = await through(items, [first, second])
    return one + two, both, [f.value for f in judged] == [f.value for f in together]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.25, help="mean service time; well above a call's CPU time")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    ports, servers = [], []
    for seed in (1, 2):
        here, there = multiprocessing.Pipe()
        servers.append(multiprocessing.Process(target=serve, args=(args.seconds, seed, there), daemon=True))
        servers[-1].start()
        ports.append(here.recv())
    found = [asyncio.run(compare(ports, args.items, args.at_once)) for _ in range(args.repeats)]
    for server in servers:
        server.terminate()
    ratio = statistics.median(apart / both for apart, both, _ in found)
    apart, both, _ = min(found, key=lambda row: row[1])
    equal = all(row[2] for row in found)
    detail = f"{both:.2f} s against {apart:.2f} s for {args.items} items, rows {'equal' if equal else 'DIFFER'}"
    row = {"name": "together_vs_stage_by_stage", "value": ratio, "bar": BAR, "holds": ratio >= BAR and equal}
    if args.json:
        print(json.dumps({"bench": "pipeline", "rows": [row | {"detail": detail}]}))
    else:
        print(f"{row['name']:36} {ratio:6.2f} x   (bar {BAR:.1f})   {detail}")


if __name__ == "__main__":
    main()
