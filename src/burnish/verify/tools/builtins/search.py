"""Search over a corpus in memory: BM25 (Robertson and Zaragoza 2009, section 3.1) with a tokeniser for any script.

score(q, d) = sum over words w of q: idf(w) * f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))
idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5)),   f = times of w in d, n = documents with w
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from burnish.errors import DataError

K1, B = 1.2, 0.75  # ASSUMED: the usual middle of the ranges that the survey names
# Han, kana and hangul have no blanks between words: each character is one.
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+")
SNIPPET = 160  # ASSUMED: characters of a result that are shown


def tokens(text: str) -> list[str]:
    """Words in small letters; a character of Chinese, Japanese or Korean is a word of its own."""
    return _TOKEN.findall(text.lower())


class Bm25:
    """An index of texts; `rank` is deterministic, equal scores in the order of the texts."""

    def __init__(self, texts: Sequence[str], *, k1: float = K1, b: float = B) -> None:
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths: list[int] = []
        for place, text in enumerate(texts):
            counts = Counter(tokens(text))
            self._lengths.append(counts.total())
            for word, times in counts.items():
                self._places[word].append((place, times))
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 0.0
        self._k1, self._b = k1, b

    def rank(self, query: str) -> list[tuple[int, float]]:
        """(place of a text, its score), best first; texts without a word of the query are left out."""
        scores: dict[int, float] = defaultdict(float)
        for word, weight in Counter(tokens(query)).items():
            found = self._places.get(word, ())
            rare = math.log(1 + (len(self._lengths) - len(found) + 0.5) / (len(found) + 0.5))
            for place, times in found:
                norm = 1 - self._b + self._b * self._lengths[place] / (self._mean or 1.0)
                scores[place] += weight * rare * times * (self._k1 + 1) / (times + self._k1 * norm)
        return sorted(scores.items(), key=lambda one: (-one[1], one[0]))


class Corpus:
    """Documents by name, searched by `search`, which a model may be given (`Registry(corpus.search)`)."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        if not documents:
            raise DataError("the corpus is empty; give it a document or more")
        self._names, self._texts = list(documents), list(documents.values())
        self._index = Bm25([f"{name} {text}" for name, text in documents.items()])

    def search(self, query: str, top: int = 5) -> list[dict[str, str]]:
        """Search the documents; the best come first, each with its name and the part around the first word found.

        Args:
            query: words to look for.
            top: how many documents at most.
        """
        found = self._index.rank(query)[: max(top, 0)]
        words = set(tokens(query))
        return [{"name": self._names[place], "text": snippet(self._texts[place], words)} for place, _ in found]


def snippet(text: str, words: set[str]) -> str:
    """The part of a text around the first of the words, its start where none is in it."""
    first = next((match.start() for match in _TOKEN.finditer(text) if match.group().lower() in words), 0)
    start = max(0, first - SNIPPET // 4)
    part = " ".join(text[start : start + SNIPPET].split())
    return ("..." if start else "") + part + ("..." if start + SNIPPET < len(text) else "")
