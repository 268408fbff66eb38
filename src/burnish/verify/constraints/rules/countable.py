"""Countable types in the manner of CFBench (arXiv 2408.01122) and FollowBench (arXiv 2310.20410)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from burnish.verify.constraints.rules.keywords import has_word
from burnish.verify.constraints.rules.layout import bullets, fenced, numbered
from burnish.verify.constraints.rules.lengths import blocks, filled, lines, words
from burnish.verify.constraints.rules.sentences import sentences

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ITEM = re.compile(r"^[^\S\n]*(\d+)[.)][^\S\n]+\S", re.MULTILINE)
_HEADING = re.compile(r"^(#{1,6})[^\S\n]+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*(?=[^\n*]*[^\s*])[^\n*]*\*\*")
_RULE = re.compile(r"^:?-+:?$")
_FIRST_PERSON = ("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves")


def longest_sentence(text: str) -> int:
    """Words of the longest sentence."""
    return max((len(words(sentence)) for sentence in sentences(text)), default=0)


def sentences_per_block(text: str) -> list[int]:
    """Sentences of each part between blank lines."""
    return [len(sentences(block)) for block in filled(blocks(text))]


def numbers(text: str) -> int:
    """Runs of digits; "1,200.50" is one."""
    return len(_NUMBER.findall(text))


def distinct_words(text: str) -> int:
    return len({word.lower() for word in words(text)})


def longest_word(text: str) -> int:
    """Characters of the longest word."""
    return max(map(len, words(text)), default=0)


def repeats_word(text: str, letters: int) -> bool:
    """Whether a word of so many letters or more stands twice."""
    long = [word.lower() for word in words(text) if len(word) >= letters]
    return len(long) > len(set(long))


def in_order(text: str, keywords: Iterable[str]) -> bool:
    """Whether the keywords stand one after the other, as words of their own."""
    at = 0
    for keyword in keywords:
        found = re.compile(rf"(?<!\w){re.escape(keyword)}(?!\w)", re.IGNORECASE).search(text, at)
        if not found:
            return False
        at = found.end()
    return True


def in_sentence(text: str, keyword: str, nth: int) -> bool:
    """Whether the nth sentence, from 1, holds the keyword."""
    found = sentences(text)
    return nth <= len(found) and has_word(found[nth - 1], keyword)


def is_numbered_list(text: str, items: int) -> bool:
    """Whether the numbered lines run from 1 to `items`."""
    return [int(n) for n in _ITEM.findall(text)] == list(range(1, items + 1))


def has_table(text: str, rows: int, columns: int) -> bool:
    """A Markdown table: a head, a rule, then `rows` lines; each of `columns` cells."""
    table = [line.strip("|").split("|") for line in lines(text) if line.startswith("|") and line.endswith("|")]
    if len(table) != rows + 2 or any(len(cells) != columns for cells in table):
        return False
    return all(_RULE.match(cell.strip()) for cell in table[1])


def has_code(text: str, language: str) -> bool:
    """A closed code block that names the language and is not empty."""
    return any(label == language.lower() and bool(code.strip()) for label, code in fenced(text))


def headings(text: str, level: int) -> int:
    """Markdown headings of the level."""
    return sum(len(mark) == level for mark in _HEADING.findall(text))


def bold(text: str) -> int:
    return len(_BOLD.findall(text))


def is_tagged(text: str, tag: str) -> bool:
    """One element of this name around the whole text."""
    text, opening, closing = text.strip(), f"<{tag}>", f"</{tag}>"
    inside = text.removeprefix(opening).removesuffix(closing)
    whole = len(inside) + len(opening) + len(closing) == len(text)
    return whole and bool(inside.strip()) and opening not in inside and closing not in inside


def all_lines_begin(text: str, prefix: str) -> bool:
    return all(line.startswith(prefix.strip()) for line in lines(text))


def is_separated(text: str, separator: str, items: int) -> bool:
    """So many items, none of them empty, on one line."""
    parts = text.split(separator.strip())
    return "\n" not in text.strip() and len(parts) == items and all(part.strip() for part in parts)


def is_csv(text: str, columns: int) -> bool:
    """Two lines or more, each of so many cells between commas, none of them empty."""
    rows = [[cell.strip() for cell in line.split(",")] for line in lines(text)]
    return len(rows) > 1 and all(len(row) == columns and all(row) for row in rows)


def is_acrostic(text: str, word: str) -> bool:
    """Whether the first letters of the lines spell the word."""
    return [line[0].lower() for line in lines(text)] == list(word.lower())


def all_begin(text: str, letter: str) -> bool:
    """Whether every word begins with the letter."""
    return bool(words(text)) and all(word.lower().startswith(letter.lower()) for word in words(text))


def sentences_ending(text: str, mark: str) -> int:
    """Sentences that end with the mark; closing quotes and brackets may follow it."""
    return sum(sentence.rstrip("\"'”’)]}*").endswith(mark) for sentence in sentences(text))


def words_ending(text: str, suffix: str) -> int:
    """Words that end so (in small letters) and are longer than the ending."""
    return sum(word.lower().endswith(suffix) and len(word) > len(suffix) for word in words(text))


def has_list(text: str) -> bool:
    """A bullet or a numbered line."""
    return bool(bullets(text) + numbered(text))


def has_first_person(text: str) -> bool:
    return any(has_word(text, word) for word in _FIRST_PERSON)
