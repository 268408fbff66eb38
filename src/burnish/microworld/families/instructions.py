"""Verifiable constraints in the question (instruction following) and styles set by the system prompt (steerability)."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.lexicon import COLOURS, THINGS, WORDS
from burnish.microworld.tasks import Dials, Family, Task, user
from burnish.records import Message
from burnish.verify.constraints import CONSTRAINTS, check_constraint

ADJECTIVES = ("big", "old", "dry")
BY_WORDS = {  # the careful author's sentence of so many words; a topic is two words
    5: "The {} is big", 6: "The {} is very big", 7: "The {} is big and old", 8: "The {} is very big and old",
}  # fmt: skip
DEFAULT = "The {} is very big."
PHRASES = ("Well then", "Dear friend", "Good day", "That is all", "Over and out", "So it is", "Hear me", "Thank you")
STYLES = {  # constraint -> how the careful author applies it
    "lowercase": str.lower, "uppercase": str.upper, "quoted": lambda text: f'"{text}"', "no_comma": lambda text: text,
}  # fmt: skip


def complying(shape: Mapping[str, Any], topic: str) -> str:
    """The careful author's text on a topic that keeps the constraint."""
    kind, kwargs = shape["id"], shape["kwargs"]
    if kind == "word_count":
        return BY_WORDS[kwargs["n"]].format(topic) + "."
    if kind in ("sentence_count", "bullet_count"):
        line = "The {} is {}." if kind == "sentence_count" else "- {} is {}"
        lines = [line.format(topic, adjective) for adjective in ADJECTIVES[: kwargs["n"]]]
        return (" " if kind == "sentence_count" else "\n").join(lines)
    phrase = kwargs["phrase"]
    return f"{phrase} the {topic} is big." if kind == "starts_with" else f"The {topic} is big. {phrase}"


def _shape(rng: Random, trap: bool) -> dict[str, Any]:
    """One counting constraint, or a phrase to begin or end with."""
    if not trap:
        return {"id": "word_count", "kwargs": {"relation": "exactly", "n": 6}}
    kind = rng.choice(("word_count", "sentence_count", "bullet_count", "starts_with", "ends_with"))
    if kind == "word_count":
        return {"id": kind, "kwargs": {"relation": "exactly", "n": rng.choice((5, 7, 8))}}
    if kind in ("sentence_count", "bullet_count"):
        return {"id": kind, "kwargs": {"relation": "exactly", "n": rng.choice((2, 3))}}
    return {"id": kind, "kwargs": {"phrase": rng.choice(PHRASES)}}


def orders() -> dict[str, list[dict[str, Any]]]:
    """Every pair of constraints that a task may ask for, by the words that ask for it."""
    shapes = [{"id": "word_count", "kwargs": {"relation": "exactly", "n": n}} for n in BY_WORDS]
    shapes += [
        {"id": kind, "kwargs": {"relation": "exactly", "n": n}}
        for kind in ("sentence_count", "bullet_count")
        for n in (2, 3)
    ]
    shapes += [{"id": kind, "kwargs": {"phrase": p}} for kind in ("starts_with", "ends_with") for p in PHRASES]
    asked = [[shape, {"id": style, "kwargs": {}}] for shape in shapes for style in STYLES]
    return {_told(pair): pair for pair in asked}


def _told(asked: list[dict[str, Any]]) -> str:
    return " ".join(CONSTRAINTS[item["id"]].instruction(item["kwargs"]) for item in asked)


def _constrained(rng: Random, dials: Dials) -> Task:
    """A sentence about a thing under two constraints. The careless author writes what comes to mind first."""
    trap = rng.random() < dials.traps
    topic = f"{rng.choice(COLOURS)} {rng.choice(THINGS)}"
    shape = _shape(rng, trap)
    text = complying(shape, topic)
    style = rng.choice(tuple(STYLES)) if trap and shape["id"] != "bullet_count" else "no_comma"
    asked = [shape, {"id": style, "kwargs": {}}]
    default = DEFAULT.format(topic)
    key = f"constraints/{topic}/{shape['id']}/{'/'.join(map(str, shape['kwargs'].values()))}/{style}"
    answer = STYLES[style](text)
    return Task(
        family="constraints", key=key, messages=user(f"Write about the {topic}. {_told(asked)}"), answer=answer,
        hasty=default, sloppy=STYLES[style](default), terse=answer, gold={"topic": topic, "asked": asked},
        difficulty=1.0 if not trap else 2.0 if style == "no_comma" else 3.0,
        tags=("instructions", shape["id"], style),
    )  # fmt: skip


def _check_constrained(gold: Mapping[str, Any], text: str) -> str:
    """Every constraint by counting, and the topic must be named."""
    for item in gold["asked"]:
        if not check_constraint(item["id"], item["kwargs"], text):
            return f"violates {item['id']}"
    for word in gold["topic"].split():
        if not check_constraint("keyword_count", {"relation": "at least", "n": 1, "keyword": word}, text):
            return f"does not speak about the {gold['topic']}"
    return ""


# system prompt -> (what the answer must be, how the careless author half does it)
PERSONAS = {
    "Answer in capital letters.": (
        lambda words: ", ".join(words).upper(), lambda words: ", ".join([words[0].upper(), *words[1:]])),
    "Put a dash between words.": (
        lambda words: "-".join(words), lambda words: "-".join(words[:2]) + ", " + words[2]),
    "End with the word over.": (
        lambda words: ", ".join(words) + ", over", lambda words: ", ".join(words[:2]) + ", over"),
    "Talk like a pirate.": (
        lambda words: "Arr, " + ", ".join(words), lambda words: "Arr, " + words[0]),
    "Put it in brackets.": (
        lambda words: "(" + ", ".join(words) + ")", lambda words: "(" + ", ".join(words)),
    "Use a plain voice.": (
        lambda words: ", ".join(words), lambda words: ", ".join(words[:2])),
    "Keep it simple.": (
        lambda words: ", ".join(words), lambda words: ", ".join(words[1:])),
}  # fmt: skip
PLAIN_PERSONAS = tuple(PERSONAS)[-2:]
TEMPLATES = ("Repeat: {}.", "Say this: {}.", "Read out: {}.")


def _steered(rng: Random, dials: Dials) -> Task:
    """Three words to repeat in the style that the system prompt asks for. The careless author does not read it."""
    trap = rng.random() < dials.traps
    words = rng.sample(WORDS, 3)
    persona = rng.choice(tuple(PERSONAS)[:-2] if trap else PLAIN_PERSONAS)
    full, half = PERSONAS[persona]
    return Task(
        family="steering", key=f"steering/{','.join(words)}",
        messages=(Message(role="system", content=persona),
                  *user(rng.choice(TEMPLATES).format(", ".join(words)))),
        answer=full(words), hasty=", ".join(words), sloppy=half(words), terse=full(words),
        gold={"text": full(words)}, difficulty=2.0 if trap else 1.0,
        tags=("steerability", persona.rstrip(".").split()[-1]),
    )  # fmt: skip


def _check_steered(gold: Mapping[str, Any], text: str) -> str:
    """The words in the asked style; a full stop at the end is forgiven."""
    said = text.strip().removesuffix(".")
    return "" if said == gold["text"] else f"is not {gold['text']!r}"


CONSTRAINTS_FAMILY = Family(
    name="constraints", draw=_constrained, check=_check_constrained, about="countable constraints in the question"
)
STEERING = Family(name="steering", draw=_steered, check=_check_steered, about="styles set by the system prompt")
