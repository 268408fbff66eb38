"""Reads a task of the microworld back from its words: what arrives over a socket is text and nothing else.

Each reader turns a question into the reference that the family's verifier and the oracle need. They are proved by a
round trip: for every drawn task the reference that is read equals the one that was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from burnish.microworld.families import facts, instructions, numbers, programs, puzzles, records, safety
from burnish.microworld.lexicon import ATTRIBUTES, HARMFUL, HARMLESS, OBJECTS, OWNERS, SCARY, SOFT, TOWNS
from burnish.microworld.prompting import PREFIX
from burnish.microworld.tasks import LANGUAGES
from burnish.records import Message, Prompt

Read = tuple[str, Mapping[str, Any], str, float]  # family, gold, the careful author's answer, difficulty
SOURCE = "read from a request"


def read_prompt(messages: Sequence[Message]) -> Prompt | None:
    """The prompt with its truth, or None where the last question is none of this world's.

    Earlier turns and a system prompt that the world does not know (a helpful assistant's, say) change nothing.
    """
    return _read(tuple(messages))


@lru_cache(maxsize=4096)  # samples and repeated requests ask the same
def _read(messages: tuple[Message, ...]) -> Prompt | None:
    dialogue = [message for message in messages if message.role != "system"]
    system = next((message.content.strip() for message in messages if message.role == "system"), "")
    if not dialogue:
        return None
    last = dialogue[-1].content.strip()
    if dialogue[-1].role in ("ipython", "tool"):
        read = _tool_result(last)
    elif dialogue[-1].role == "user":
        read = _question(system, last)
    else:
        read = None
    if read is None:
        return None
    family, gold, answer, difficulty = read
    reference = json.dumps({**gold, "answer": answer}, ensure_ascii=False, sort_keys=True)
    return Prompt(
        messages=messages, source=SOURCE, ability=family, language=gold.get("language", "en"),
        difficulty=difficulty, checker=PREFIX + family, reference=reference,
    )  # fmt: skip


def dialogue_in(text: str) -> tuple[Message, ...]:
    """The dialogue in a text to be completed: its last labelled block (System, Question, Call, Result), or the text
    as one user message where nothing is labelled.
    """
    roles = {"System": "system", "Question": "user", "Call": "assistant", "Result": "ipython"}
    body = re.sub(r"\n?(Answer|Antwort|Respuesta):\s*\Z", "", text.strip())
    block = re.split(r"\n\s*\n", body)[-1]
    parts = re.split(r"^(System|Question|Call|Result|Answer): ", block, flags=re.M)[1:]
    found = [(roles.get(label), said.strip()) for label, said in zip(parts[::2], parts[1::2], strict=True)]
    messages = tuple(Message(role=role, content=said) for role, said in found if role)
    return messages or (Message(role="user", content=body),)


def _question(system: str, text: str) -> Read | None:
    if system.startswith("Tools:") and (read := _tool_call(text)):
        return read
    if system in instructions.PERSONAS and (read := _steered(system, text)):
        return read
    for reader in (_sum, _chain, _backwards, _program, _constrained, _record, _facts, _safety):
        if read := reader(text):
            return read
    return None


def _pattern(template: str, *groups: str) -> str:
    """A format string with its fields in turn as groups."""
    parts = [re.escape(part) for part in template.split("{}")]
    return "".join(part + group for part, group in zip(parts, (*groups, ""), strict=True))


@lru_cache(maxsize=1)
def _sums() -> list[tuple[str, re.Pattern[str]]]:
    """(language, pattern) of every way to ask for a sum; the group `terms` holds the operands."""
    rows = []
    for language in LANGUAGES:
        rows += [(language, re.compile(_pattern(t, r"(?P<terms>\d+(?: [+-] \d+)+)"))) for t in numbers.PLAIN[language]]
        start, clauses, end = numbers.STORY[language]
        clause = "|".join(_pattern(text, r"\d+") for text in clauses.values())
        told = _pattern(start, r"\w+", r"(?P<first>\d+)", r"\w+")
        rows.append((language, re.compile(f"{told}(?P<clauses>(?:{clause})+){re.escape(end)}")))
    return rows


def _sum(text: str) -> Read | None:
    for language, pattern in _sums():
        found = pattern.fullmatch(text)
        if not found:
            continue
        parts = found.groupdict()
        if "terms" in parts:
            words = parts["terms"].split()
            first, terms = int(words[0]), [(s, int(n)) for s, n in zip(words[1::2], words[2::2], strict=True)]
        else:
            first, terms = int(parts["first"]), _clauses(language, parts["clauses"])
        steps, total = numbers.solve(first, terms, careless=False)
        family = "arithmetic" if language == "en" else "multilingual"
        answer = f"{', '.join(steps)}. {numbers.ANSWER[language].format(total)}"
        slip = numbers.solve(first, terms, careless=True)[1]
        difficulty = 3.0 if len(terms) > 1 else 2.0 if slip != total else 1.0
        return family, {"number": total, "language": language}, answer, difficulty
    return None


def _clauses(language: str, text: str) -> list[tuple[str, int]]:
    named = {"plus": "+", "minus": "-"}
    pattern = "|".join(
        f"(?:{_pattern(numbers.STORY[language][1][sign], f'(?P<{name}>[0-9]+)')})" for name, sign in named.items()
    )
    return [(named[m.lastgroup or ""], int(m[m.lastgroup or ""])) for m in re.finditer(pattern, text)]


def _chain(text: str) -> Read | None:
    for language, relations in puzzles.RELATIONS.items():
        for compare, most, least in relations.values():
            ending = next((end for end in (most, least) if text.endswith(end)), None)
            sentence = _pattern(compare, r"(\w+)", r"(\w+)")
            if ending is None or not re.fullmatch(f"(?:{sentence} )+{re.escape(ending)}", text):
                continue
            told = re.findall(sentence, text)
            chain = _ordered(told)
            if chain is None:
                return None
            gold = chain[0] if ending == most else chain[-1]
            answer = f"{' > '.join(chain)}. {puzzles.ANSWER[language].format(gold)}"
            family = "ordering" if language == "en" else "multilingual"
            guess = told[0][0] if ending == most else told[-1][1]
            difficulty = 3.0 if len(chain) > 3 else 2.0 if guess != gold else 1.0
            return family, {"name": gold, "language": language}, answer, difficulty
    return None


def _ordered(pairs: Sequence[tuple[str, str]]) -> list[str] | None:
    """The one chain that the pairs (more, less) form, or None."""
    after = dict(pairs)
    starts = set(after) - set(after.values())
    if len(starts) != 1 or len(after) != len(pairs):
        return None
    chain = [starts.pop()]
    while chain[-1] in after and len(chain) <= len(pairs):
        chain.append(after[chain[-1]])
    return chain if len(chain) == len(pairs) + 1 else None


def _backwards(text: str) -> Read | None:
    found = re.fullmatch(r"(?:Put this list backwards|Turn this list round): ([^.]+)\.", text)
    if not found:
        return None
    right = found[1].split(", ")[::-1]
    answer = f"Last to first: {', '.join(right)}."
    return "ordering", {"list": right, "language": "en"}, answer, 2.0 if len(right) > 3 else 1.0


def _program(text: str) -> Read | None:
    step = f"({'|'.join(programs.SIGNS)}) (\\d+)"
    for template in programs.TEMPLATES:
        if found := re.fullmatch(_pattern(template, step, step), text):
            s, a, t, b = programs.SIGNS[found[1]], found[2], programs.SIGNS[found[3]], found[4]
            answer = f"def f(x):\n    y = x {s} {a}\n    return y {t} {b}"
            return "code", {"program": f"(x {s} {a}) {t} {b}"}, answer, 2.0 if t == "*" else 1.0
    return None


@lru_cache(maxsize=1)
def _orders() -> dict[str, list[dict[str, Any]]]:
    return instructions.orders()


def _constrained(text: str) -> Read | None:
    found = re.fullmatch(r"Write about the (\w+ \w+)\. (.+)", text, re.S)
    asked = _orders().get(found[2]) if found else None
    if not found or asked is None:
        return None
    shape, style = asked
    answer = instructions.STYLES[style["id"]](instructions.complying(shape, found[1]))
    easy = shape["id"] == "word_count" and shape["kwargs"]["n"] == 6
    difficulty = 1.0 if easy else 2.0 if style["id"] == "no_comma" else 3.0
    return "constraints", {"topic": found[1], "asked": asked}, answer, difficulty


def _steered(persona: str, text: str) -> Read | None:
    for template in instructions.TEMPLATES:
        if found := re.fullmatch(_pattern(template, r"([^.]+)"), text):
            said = instructions.PERSONAS[persona][0](found[1].split(", "))
            return "steering", {"text": said}, said, 1.0 if persona in instructions.PLAIN_PERSONAS else 2.0
    return None


def _record(text: str) -> Read | None:
    fields = "|".join(records.FIELDS)
    found = re.fullmatch(rf"(.+) Which ({fields}) has ([^?]+)\?", text, re.S)
    if not found:
        return None
    _, field, who = found.groups()
    value = re.search(rf"(?:^|\. ){re.escape(who)}: {field} (\d+)\.", found[1])
    if not value:
        return None
    answer = f"{who}: {field} {value[1]}. The answer is {value[1]}."
    count = len(re.findall(rf": {field} \d+\.", found[1]))
    return "records", {"number": int(value[1])}, answer, 3.0 if count > 8 else 2.0 if value.start() else 1.0


def _facts(text: str) -> Read | None:
    attributes = "|".join(attribute for attribute, _, _ in ATTRIBUTES)
    found = re.fullmatch(rf"Which has more ({attributes}), (\w+) or (\w+)\?", text)
    if not found or not {found[2], found[3]} <= set(TOWNS):
        return None
    answer, gold = facts.compared(found[2], found[3], found[1])
    difficulty = 3.0 if "unknown" in gold else 2.0 if gold["town"] != found[2] else 1.0
    return "facts", gold, answer, difficulty


@lru_cache(maxsize=1)
def _requests() -> list[re.Pattern[str]]:
    words = ((*SCARY, *SOFT), OWNERS, OBJECTS, (*HARMFUL, *HARMLESS))
    groups = [f"({'|'.join(map(re.escape, sorted(listed, key=len, reverse=True)))})" for listed in words]
    return [re.compile(_pattern(template, *groups)) for template in safety.TEMPLATES]


def _safety(text: str) -> Read | None:
    for pattern in _requests():
        if found := pattern.fullmatch(text):
            verb, _, thing, purpose = found.groups()
            gold = {"decline": purpose in HARMFUL, "verb": verb, "thing": thing}
            trap = gold["decline"] != (verb in SCARY)
            return "safety", gold, safety.careful(verb, thing, purpose), 2.0 if trap else 1.0
    return None


def _tool_call(text: str) -> Read | None:
    if found := re.fullmatch(r"What is (\d+) ([*+]) (\d+)\?", text):
        call = f"calculator({found[1]}{found[2]}{found[3]})"
    elif found := re.fullmatch(r"What is the (\w+) number of (\w+ \w+)\?", text):
        call = f"lookup({found[2]}, {found[1]})"
    else:
        return None
    return "tools", {"call": call}, call, 2.0


def _tool_result(text: str) -> Read | None:
    if not re.fullmatch(r"\d+", text):
        return None
    answer = f"The tool says {text}. The answer is {text}."
    return "tools", {"number": int(text)}, answer, 2.0 if int(text) > 999 else 1.0
