"""One thread, tiny folders with a chat template, and a journal that can be cut short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.models import tiny_model_folder, weights_of
from burnish.records import Message, Prompt, Weights

torch.set_num_threads(1)

SPECIALS = ("<|begin|>", "<|end|>", "<|pad|>", "<|im_start|>", "<|im_end|>")


def ask(text: str, **fields: Any) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), **fields)


def prompts(count: int) -> list[Prompt]:
    """Prompts of many lengths, none in order of length."""
    return [ask("count " + "x" * (7 * i % 19), source=str(i)) for i in range(count)]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """architecture -> weights with sharp attention; a window shorter than the prompts where there is one."""
    made: dict[tuple, Weights] = {}

    def make(architecture: str = "llama", **settings: Any) -> Weights:
        name = (architecture, json.dumps(settings, sort_keys=True))
        if name not in made:
            folder = tmp_path_factory.mktemp(architecture)
            window = {"sliding_window": 16} if architecture == "gemma2" else {}
            settings = {"scale": 6.0, "max_position_embeddings": 256, **window, **settings}
            tiny_model_folder(folder, architecture, specials=SPECIALS, **settings)
            made[name] = weights_of(folder)
        return made[name]

    return make


class Journal:
    """A journal in memory; `keep` forgets what a kill would have lost."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.puts = 0

    def get(self, key: str) -> Any:
        return json.loads(self.entries[key]) if key in self.entries else None

    def put(self, key: str, value: Any) -> None:
        self.puts += 1
        self.entries[key] = json.dumps(value, allow_nan=False)


class Bench:
    """`protocols.Work` for tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scratch = folder / "artifact", folder / "scratch"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(exist_ok=True)
        self.journal = Journal()
        self.said: list[tuple[int, int, str]] = []

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.said.append((done, total, note))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
