"""Burnish's request engine against the openai SDK and bare aiohttp, on a server that always says the same.

    python bench/requests.py [--requests 6000] [--rounds 3] [--in-flight 64 512] [--json]

The server (raw asyncio) and the client are processes pinned to a core each. Burnish does all it does in a run: it
writes request and reply to the store, counts tokens against a budget, and validates each reply against a schema. The
other two only send and parse. CPU is that of the client process, threads included, after its imports. Each round runs
all three, one after another; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

QUESTION = "Rate the answer below for helpfulness on a scale from 1 to 5, and say why in one sentence. " * 4
SAID = json.dumps({"score": 4, "reason": "It answers the question fully and in plain words, but gives no example."})
USAGE = {"prompt_tokens": 96, "completion_tokens": 28, "total_tokens": 124}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop", "logprobs": None}
BODY = {"id": "c1", "object": "chat.completion", "created": 1, "model": "toy", "choices": [CHOICE], "usage": USAGE}
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer"}, "reason": {"type": "string"}},
    "required": ["score", "reason"],
    "additionalProperties": False,
}
CLIENTS = ("burnish", "aiohttp", "openai")
RATE_BAR, CPU_BAR = 8.0, 1.7


def pin(core: int) -> None:
    """Stay on one core, where the system can do that and has so many."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


class Constant(asyncio.Protocol):
    """Counts request heads and bodies, and answers each with the same bytes."""

    def __init__(self) -> None:
        self.held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            mark = head.find(b"content-length:")
            length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length :]
            self.transport.write(LIST if head.startswith(b"get") else ANSWER)


def _answer(body: dict) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


ANSWER, LIST = _answer(BODY), _answer({"object": "list", "data": [{"id": "toy"}]})


async def serve() -> None:
    """Serve until standard input closes; the port is the first line on standard output."""
    pin(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Constant, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


async def burnish(url: str, count: int, in_flight: int) -> None:
    """The engine with everything on."""
    from pydantic import BaseModel, ConfigDict

    from burnish.llm.requests import Budget, Endpoint, Pacing, Request, Store, ask_all
    from burnish.records import Message, Sampling

    class Verdict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        score: int
        reason: str

    endpoint = Endpoint.parse(f"{url}#toy", pacing=Pacing(start=in_flight, most=in_flight))
    sampling = Sampling(temperature=0.0, max_new_tokens=64)

    def question(number: int) -> Request:
        text = (Message(role="user", content=f"{QUESTION}\nAnswer {number}"),)
        return Request(model=endpoint.identity, sampling=sampling, messages=text, schema=SCHEMA, operation="rate")

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "requests" / "bench.sqlite") as store:
        asked, done, budget = (question(i) for i in range(count)), 0, Budget(tokens=10**12)
        async for _, reply in ask_all(asked, endpoint, store=store, budget=budget, total=count):
            done += Verdict.model_validate_json(reply.text).score == 4
        assert done == count == len(store), (done, count)


async def over(count: int, in_flight: int, send: Callable[[int], Awaitable[str]]) -> None:
    """So many workers that take the next number."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            assert await send(number) == SAID

    await asyncio.gather(*(work() for _ in range(in_flight)))


def _plain(number: int) -> dict:
    schema = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}
    messages = [{"role": "user", "content": f"{QUESTION}\nAnswer {number}"}]
    drawn = {"temperature": 0.0, "max_tokens": 64, "seed": 0}
    return {"model": "toy", "messages": messages, **drawn, "response_format": schema}


async def bare(url: str, count: int, in_flight: int) -> None:
    """aiohttp with orjson, and nothing else."""
    import aiohttp
    import orjson

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(number: int) -> str:
            headers, data = {"Content-Type": "application/json"}, orjson.dumps(_plain(number))
            async with session.post(f"{url}/chat/completions", data=data, headers=headers) as response:
                return orjson.loads(await response.read())["choices"][0]["message"]["content"]

        await over(count, in_flight, send)


async def sdk(url: str, count: int, in_flight: int) -> None:
    """The openai SDK with its own defaults."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def send(number: int) -> str:
            reply = await client.chat.completions.create(**_plain(number))
            return reply.choices[0].message.content

        await over(count, in_flight, send)


def measure(name: str, url: str, count: int, in_flight: int) -> None:
    """One client in this process: prints requests a second and CPU microseconds a request."""
    pin(0)
    client = {"burnish": burnish, "aiohttp": bare, "openai": sdk}[name]
    asyncio.run(client(url, 2 * in_flight, in_flight))  # imports, connections, caches
    cpu, began = time.process_time(), time.perf_counter()
    asyncio.run(client(url, count, in_flight))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"rate": count / seconds, "cpu": 1e6 * cpu / count}))


def compare(count: int, rounds: int, in_flight: int, url: str) -> list[dict]:
    """The two ratios of the bar at one concurrency, and what they are made of."""
    found: dict[str, list[dict]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        for name in CLIENTS:
            number = max(2 * in_flight, count // 8) if name == "openai" else count
            command = [sys.executable, __file__, "--client", name, url, str(number), str(in_flight)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
            found[name].append(json.loads(done.stdout))
    rate = {name: statistics.median(r["rate"] for r in rows) for name, rows in found.items()}
    cpu = {name: statistics.median(r["cpu"] for r in rows) for name, rows in found.items()}
    faster = statistics.median(a["rate"] / b["rate"] for a, b in zip(found["burnish"], found["openai"], strict=True))
    dearer = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(found["burnish"], found["aiohttp"], strict=True))
    rates = "requests/s: " + ", ".join(f"{name} {value:,.0f}" for name, value in rate.items())
    cpus = "CPU us a request: " + ", ".join(f"{name} {value:,.0f}" for name, value in cpu.items())
    return [
        _row(f"rate_vs_openai_{in_flight}", faster, RATE_BAR, faster >= RATE_BAR, rates),
        _row(f"cpu_vs_aiohttp_{in_flight}", dearer, CPU_BAR, dearer <= CPU_BAR, cpus),
    ]


def _row(name: str, value: float, bar: float, holds: bool, detail: str) -> dict:
    return {"name": name, "value": round(value, 3), "bar": bar, "holds": holds, "detail": detail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        return asyncio.run(serve())
    if asked.client:
        name, url, count, in_flight = asked.client
        return measure(name, url, int(count), int(in_flight))
    command = [sys.executable, __file__, "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        rows = [row for most in asked.in_flight for row in compare(asked.requests, asked.rounds, most, url)]
    finally:
        server.stdin.close()
        server.wait()
    if asked.json:
        print(json.dumps({"bench": "requests", "rows": rows}))
        return None
    for row in rows:
        held = "holds" if row["holds"] else "FAILS"
        print(f"{row['name']:<24} {row['value']:>8.2f}  bar {row['bar']}  {held}  {row['detail']}")
    return None


if __name__ == "__main__":
    sys.path.pop(0)  # this file's own name is that of a library
    main()
elif __name__ == "requests":  # a script beside this one wants that library
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    del sys.modules[__name__]
    importlib.import_module(__name__)
