"""The languages in which constraints are asked for, their filler words, and how each of them counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from burnish.verify.constraints.rules import lengths
from burnish.verify.constraints.rules.sentences import sentences, wide_sentences

LANGUAGES = ("en", "es", "fr", "ja", "zh")
_LAST_RESORT = ("zyx", "wvu", "klm", "7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locale:
    """One language of instructions.

    `asks` says how each type is asked for; the other tuples are what arguments are drawn from and what the generated
    texts are made of. None of the words holds another one, and none has an accent, a capital or a comma.
    """

    code: str
    relations: tuple[str, ...]
    words: tuple[str, ...]
    sentences: tuple[str, ...]
    options: tuple[str, ...]
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    splitters: tuple[str, ...]
    markers: tuple[str, ...]
    asks: Mapping[str, Sequence[str]]

    @property
    def prefix(self) -> str:
        """Before the ids: none for English, as in IFEval; `es:` and so on, as in M-IFEval."""
        return "" if self.code == "en" else f"{self.code}:"

    @property
    def wide(self) -> bool:
        """Written without blanks between words."""
        return self.code in ("ja", "zh")

    @property
    def stop(self) -> str:
        return "。" if self.wide else "."

    @property
    def more(self) -> str:
        """The relation word for a least number."""
        return self.relations[0]

    def count_sentences(self, text: str) -> int:
        return wide_sentences(text) if self.wide else len(sentences(text, self.code))

    def count_words(self, text: str) -> int:
        return len(lengths.hyphenated(text) if self.code == "es" else lengths.words(text))

    def join(self, words: Iterable[str]) -> str:
        return ("" if self.wide else " ").join(words)

    def free(self, avoid: Iterable[str]) -> tuple[str, ...]:
        """The filler words that hold none of the texts to avoid and stand in none of them."""
        lower = [one.strip().lower() for one in avoid if one.strip()]
        found = tuple(w for w in self.words if not any(one in w or w in one for one in lower))
        return found or tuple(w for w in _LAST_RESORT if not any(one in w for one in lower)) or ("-",)

    def fill(self, rng: Random, n: int, avoid: Iterable[str] = ()) -> list[str]:
        """n filler words."""
        return rng.choices(self.free(avoid), k=n)

    def sentence(self, rng: Random, avoid: Iterable[str] = ()) -> str:
        """A true sentence of the language with its full stop, or filler words where each has something to avoid."""
        lower = [one.strip().lower() for one in avoid if one.strip()]
        good = [one for one in self.sentences if not any(bad in one.lower() for bad in lower)]
        return (rng.choice(good) if good else self.join(self.fill(rng, 4, avoid))) + self.stop

    def mixed(self, rng: Random, must: Sequence[str], n: int = 4, avoid: Iterable[str] = ()) -> str:
        """The texts of `must` among n filler words."""
        mixed = [*must, *self.fill(rng, n, [*must, *avoid])]
        rng.shuffle(mixed)
        return self.join(mixed)


@cache
def locale(code: str) -> Locale:
    """The locale of one of LANGUAGES."""
    rows = json.loads(Path(__file__).with_name("locales").joinpath(f"{code}.json").read_text(encoding="utf-8"))
    asks = rows.pop("asks")
    return Locale(code=code, asks=asks, **{name: tuple(values) for name, values in rows.items()})
