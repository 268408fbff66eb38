"""Fixtures of the chat tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chat.dialogue_samples import KINDS, TEMPLATES, save


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory):
    """`folders(kind, template, **named)`: a tokenizer folder, made once."""
    made: dict[tuple, Path] = {}

    def get(kind: str = "byte_level", template: str = "", *, adds_bos: bool = False, **named: str) -> Path:
        key = (kind, template, adds_bos, tuple(sorted(named.items())))
        if key not in made:
            text = TEMPLATES.get(template, template)
            made[key] = save(tmp_path_factory.mktemp("tok"), KINDS[kind](), text, adds_bos=adds_bos, **named)
        return made[key]

    return get
