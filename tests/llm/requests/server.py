"""A server that answers as OpenAI's do, and fails as they do: raw asyncio, scripted by a function."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
NAMES = ("toy",)


def said(text: str, **more: Any) -> Answer:
    """A chat reply."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop", **more}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    body = {"id": "x", "model": "toy", "choices": [choice], "usage": usage}
    return 200, {}, json.dumps(body).encode()


def error(status: int, message: str, **headers: str) -> Answer:
    """An error as OpenAI words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message, "type": "x"}}).encode()


class Server:
    """Runs `script(body, server)` for each POST in a thread with a loop of its own.

    The script returns an `Answer`, bytes to send raw before the connection is cut, or an awaitable of either.
    """

    def __init__(self, script: Callable[[dict[str, Any], Server], Any], models: tuple[str, ...] | None = NAMES) -> None:
        self.script, self.models = script, models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.in_service = self.highest = 0
        self.statuses: Counter[int] = Counter()
        self.port = 0
        self.listening: asyncio.AbstractEventLoop
        self.listener: asyncio.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")
                length = next((int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length")), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                if not await self.answer(lines[0], head, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, line: str, head: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if line.startswith("GET"):
            listed = {"data": [{"id": name} for name in self.models or ()]}
            found: Any = (200, {}, json.dumps(listed).encode()) if self.models else error(404, "no such route")
        else:
            self.bodies.append(body)
            self.headers.append(head)
            self.in_service += 1
            self.highest = max(self.highest, self.in_service)
            try:
                found = self.script(body, self)
                if asyncio.iscoroutine(found):
                    found = await found
            finally:
                self.in_service -= 1
        if isinstance(found, bytes):
            writer.write(found)
            await writer.drain()
            return False
        status, headers, data = found
        self.statuses[status] += line.startswith("POST")
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{named}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        await writer.drain()
        return True


@contextmanager
def serving(script: Callable[[dict[str, Any], Server], Any], models: tuple[str, ...] | None = NAMES, port: int = 0):
    """A running server; it stops, cutting its connections, at the end."""
    server, started, loop = Server(script, models), threading.Event(), asyncio.new_event_loop()
    server.listening = loop

    async def begin() -> Any:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", port, backlog=1024)
        server.port = listener.sockets[0].getsockname()[1]
        return listener

    def work() -> None:
        asyncio.set_event_loop(loop)
        server.listener = loop.run_until_complete(begin())
        loop.call_soon(started.set)
        loop.run_forever()
        server.listener.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
