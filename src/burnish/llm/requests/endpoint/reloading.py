"""Telling a server to read weights that were written into a folder.

vllm     sleep without weights and cache, wake up, read the folder that it was started with, wake up the cache
         (needs `VLLM_SERVER_DEV_MODE=1` and `--enable-sleep-mode`; the cache of prefixes goes with it)
sglang   read any folder, and forget the cache
none     nothing is told
/path {"body": "{folder}"}   another server's own way: a POST each, in the order given
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from burnish.errors import SettingsError, WorkerError
from burnish.llm.requests.asking import run
from burnish.llm.requests.endpoint.faults import said
from burnish.llm.requests.endpoint.transport import key_for

FOLDER = "{folder}"  # stands for the folder in the texts of a body


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One POST.

    Args:
        path: from the server's root, without the /v1 of its address.
        body: a JSON object as text; `{folder}` in its texts is the folder. Empty sends none.
    """

    path: str
    body: str = ""

    def filled(self, folder: str) -> Any:
        """The body with the folder in it; None where there is none."""
        return _filled(json.loads(self.body), folder) if self.body else None


PRESETS: Mapping[str, tuple[Call, ...]] = {
    "vllm": (
        Call(path="/sleep?level=2"),
        Call(path="/wake_up?tags=weights"),
        Call(path="/collective_rpc", body='{"method": "reload_weights"}'),
        Call(path="/wake_up?tags=kv_cache"),
    ),
    "sglang": (Call(path="/update_weights_from_disk", body='{"model_path": "{folder}"}'),),
    "none": (),
}


def _filled(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return value.replace(FOLDER, folder)
    if isinstance(value, dict):
        return {name: _filled(item, folder) for name, item in value.items()}
    return [_filled(item, folder) for item in value] if isinstance(value, list) else value


def reloading_of(words: Sequence[str]) -> tuple[Call, ...]:
    """The calls of a preset's name, or of words such as `/reload {"path": "{folder}"}`.

    Raises:
        SettingsError: a word that is neither, or a body that is no JSON object.
    """
    if len(words) == 1 and words[0] in PRESETS:
        return PRESETS[words[0]]
    calls = []
    for word in words:
        path, _, body = word.partition(" ")
        if not path.startswith("/"):
            raise SettingsError(
                f"--reload {word} is none of {', '.join(PRESETS)} and no path such as /reload; "
                'write --reload \'/reload {"path": "{folder}"}\''
            )
        try:
            object_given = not body.strip() or isinstance(json.loads(body), dict)
        except ValueError:
            object_given = False
        if not object_given:
            raise SettingsError(f"--reload {word}: what follows the path is no JSON object")
        calls.append(Call(path=path, body=body.strip()))
    return tuple(calls)


def reload_weights(urls: Sequence[str], calls: Sequence[Call], folder: str, *, seconds: float) -> None:
    """Tell each server, one after another, and wait until it has done so.

    Args:
        urls: addresses up to and with /v1.
        seconds: for one call.

    Raises:
        WorkerError: a server cannot be reached, takes longer, or says no.
    """

    async def tell() -> None:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for url in urls:
                for call in calls:
                    if why := await _told(session, url, call, folder):
                        raise WorkerError(
                            f"{url} did not read the weights in {folder}: POST {call.path} {why}; see to the server "
                            "and give the same command again"
                        )

    run(tell())


async def _told(session: aiohttp.ClientSession, url: str, call: Call, folder: str) -> str:
    """Empty when the server did as it was told, else why not."""
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
    headers = {"Authorization": f"Bearer {key}"} if (key := key_for(url)) else {}
    try:
        async with session.post(root + call.path, json=call.filled(folder), headers=headers) as answer:
            data, status = await answer.read(), answer.status
    except TimeoutError:
        return "gave no answer in time"
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
        return f"failed ({error or type(error).__name__})"
    if status != 200:
        return f"gave the status {status} ({said(data) or 'nothing more'})"
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        found = {}
    if isinstance(found, dict) and found.get("success") is False:
        return f"was refused ({found.get('message') or 'no reason given'})"
    return ""
