"""Replies that are paid for: one SQLite file for each step, under `<run>/requests/`, kept when the step is done.

A reply is committed before it is handed on: killing the process loses none. A thread of its own commits them in groups
and flushes the disk once a second, so a power cut loses at most that second, and all of it costs next to nothing.
Reading a reply is another matter: nothing that parsed is in here, so a changed parser sends nothing again.

    sqlite3 RUN/requests/r1-03-judgements.sqlite 'select operation, count(*) from asked group by 1'
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from burnish.errors import RunError
from burnish.llm.requests.request import Reply, Request, Usage, dump, key_of
from burnish.runs.storage import disk_errors, make_folder

_TABLE = """
create table if not exists asked (
    key text not null primary key,  -- BLAKE2b of `request`
    operation text not null,        -- who asks
    again integer not null,         -- 0, or which re-ask it is
    model text not null,
    request text not null,          -- canonical JSON
    text text not null,             -- what was said
    finish text not null,
    failure text not null,          -- why nothing was said; empty otherwise
    passing integer not null,       -- 1: asked again when the step runs again
    more text not null,             -- JSON: tool_calls, token_ids, logprobs, reasoning
    prompt_tokens integer not null,
    completion_tokens integer not null,
    cached_tokens integer not null,
    estimated integer not null,     -- 1: the server did not count, so the tokens are guessed
    served_by text not null,
    attempts integer not null,
    seconds real not null,          -- from sending to the last byte
    finished real not null          -- Unix time
)
"""
_INSERT = f"insert or replace into asked values ({', '.join('?' * 18)})"
_REPLY = (
    "text, finish, failure, passing, more, prompt_tokens, completion_tokens, cached_tokens, estimated, served_by, "
    "attempts, seconds"
)
_FIND = f"select {_REPLY} from asked where key = ?"
_GROUP = 512  # replies of a commit at most
_FLUSH = 1.0  # seconds between two flushes of the disk
_GATHER = 0.0005  # seconds to wait for more of a group

Done = Callable[[list[Any]], None]


class Sieve:
    """A Bloom filter over keys, which are hashes already: says quickly of most keys that they are not there.

    A question to the file costs a new request more than all the rest of its book-keeping.
    """

    def __init__(self, count: int) -> None:
        bits = (16 * (count + 2**20)).bit_length()
        self.mask = 2**bits - 1
        self.bits = bytearray(2 ** (bits - 3))

    def _places(self, key: str) -> tuple[int, int, int]:
        number, mask = int(key, 16), self.mask
        return number & mask, (number >> 20) & mask, (number >> 40 | number << 24) & mask

    def add(self, key: str) -> None:
        for place in self._places(key):
            self.bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: str) -> bool:
        """False: certainly not there."""
        return all(self.bits[place >> 3] >> (place & 7) & 1 for place in self._places(key))


class Store:
    """A step's requests and replies. Use it from one thread; it writes from its own."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file.

        Raises:
            RunError: it cannot be made, or is no store.
        """
        self.path = Path(path)
        make_folder(self.path.parent)
        self._read = self._connect()
        self._held = Sieve(len(self))
        for (key,) in self._read.execute("select key from asked"):
            self._held.add(key)
        self._queue: list[tuple[tuple[Any, ...], Any, Done | None]] = []
        self._news = threading.Condition()
        self._closing = False
        self._broken: BaseException | None = None
        self._thread: threading.Thread | None = None

    def _connect(self) -> sqlite3.Connection:
        with disk_errors(self.path):
            try:
                base = sqlite3.connect(self.path, isolation_level=None, timeout=60.0, check_same_thread=False)
                base.execute("pragma journal_mode=wal")
                base.execute("pragma synchronous=normal")  # flushed once a second, see `_flush`
                base.execute(_TABLE)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                raise RunError(f"{self.path} is no request store ({error}); restore it or move it away") from error
        return base

    def get(self, key: str) -> Reply | None:
        """The reply of a key, None when it was never given, or was a failure that may pass."""
        if not self._held.may_hold(key):
            return None
        row = self._read.execute(_FIND, (key,)).fetchone()
        return None if row is None or row[3] else _reply(row)

    def put(self, key: str, request: Request, canonical: bytes, reply: Reply) -> None:
        """Write a reply, and return when it is committed."""
        written = threading.Event()
        self.add(key, request, canonical, reply, token=None, done=lambda _: written.set())
        while not written.wait(1.0):
            self.check()
        self.check()

    def add(self, key: str, request: Request, canonical: bytes, reply: Reply, *, token: Any, done: Done | None) -> None:
        """Write a reply soon; then `done([token, ...])` is called once a group, in the writing thread."""
        self.check()
        row = _row(key, request, canonical, reply)
        with self._news:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="request store", daemon=True)
                self._thread.start()
            if not self._queue:
                self._news.notify()
            self._queue.append((row, token, done))
        self._held.add(key)

    def check(self) -> None:
        """
        Raises:
            RunError: the disk refused an earlier reply.
        """
        if self._broken is not None:
            raise self._broken

    @property
    def broken(self) -> bool:
        """The disk refused a reply."""
        return self._broken is not None

    def __len__(self) -> int:
        return self._read.execute("select count(*) from asked").fetchone()[0]

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with self._news:
            self._closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._read.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _write(self) -> None:
        base = None
        flushed, dirty = time.monotonic(), False
        try:
            base = self._connect()
            while True:
                if dirty and time.monotonic() - flushed > _FLUSH:
                    self._flush()
                    flushed, dirty = time.monotonic(), False
                with self._news:
                    if not self._queue and not self._closing:
                        self._news.wait(_FLUSH if dirty else None)
                    if not self._queue:
                        if self._closing:
                            return self._flush()
                        continue
                dirty = True
                if not self._closing and len(self._queue) < _GROUP:
                    time.sleep(_GATHER)
                with self._news:
                    group, self._queue = self._queue, []
                self._commit(base, group)
        except BaseException as error:
            self._broken = error
            with self._news:
                group, self._queue = self._queue, []
            _tell(group)
        finally:
            if base is not None:
                base.close()

    def _flush(self) -> None:
        """Make the disk hold what is committed, the write-ahead log and the file."""
        for path in (self.path.with_name(self.path.name + "-wal"), self.path):
            if path.exists():
                with disk_errors(path), open(path, "rb") as file:
                    os.fsync(file.fileno())

    def _commit(self, base: sqlite3.Connection, group: Sequence[tuple[tuple[Any, ...], Any, Done | None]]) -> None:
        try:
            with disk_errors(self.path):
                base.execute("begin immediate")
                base.executemany(_INSERT, [row for row, _, _ in group])
                base.execute("commit")
        except BaseException as error:
            self._broken = error
        _tell(group)
        if self._broken is not None:
            raise self._broken


def _tell(group: Sequence[tuple[tuple[Any, ...], Any, Done | None]]) -> None:
    heard: dict[Done, list[Any]] = {}
    for _, token, done in group:
        if done is not None:
            heard.setdefault(done, []).append(token)
    for done, tokens in heard.items():
        done(tokens)


def _row(key: str, request: Request, canonical: bytes, reply: Reply) -> tuple[Any, ...]:
    usage = reply.usage
    more = ""
    if reply.tool_calls or reply.token_ids or reply.logprobs or reply.reasoning:
        more = _text(
            dump(
                {
                    "tool_calls": reply.tool_calls,
                    "token_ids": reply.token_ids,
                    "logprobs": reply.logprobs,
                    "reasoning": reply.reasoning,
                }
            )
        )
    return (
        key,
        request.operation,
        request.again,
        request.model,
        canonical.decode(),
        reply.text,
        reply.finish,
        reply.failure,
        int(reply.passing),
        more,
        usage.prompt,
        usage.completion,
        usage.cached,
        int(usage.estimated),
        reply.served_by,
        reply.attempts,
        reply.seconds,
        time.time(),
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _reply(row: Sequence[Any]) -> Reply:
    text, finish, failure, _, more, prompt, completion, cached, estimated, served_by, attempts, seconds = row
    extra = orjson.loads(more) if more else {}
    return Reply(
        text=text,
        finish=finish,
        failure=failure,
        usage=Usage(prompt=prompt, completion=completion, cached=cached, estimated=bool(estimated)),
        tool_calls=tuple(extra.get("tool_calls", ())),
        token_ids=tuple(extra.get("token_ids", ())),
        logprobs=tuple(extra.get("logprobs", ())),
        reasoning=extra.get("reasoning", ""),
        served_by=served_by,
        attempts=attempts,
        seconds=seconds,
    )


def damaged(path: Path | str) -> list[str]:
    """Keys whose request does not hash to them; empty for a sound file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        return [
            key for key, request in base.execute("select key, request from asked") if key_of(request.encode()) != key
        ]
