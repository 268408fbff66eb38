"""The raw text of the world: what the base model was trained on. Documents of train-split tasks only, no chat format.

Document number i depends on the corpus seed and i alone, so the corpus needs no storage: it can be regenerated,
entered at any place, and compared with the held-out tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from burnish.microworld.authors import draw_author, written_by
from burnish.microworld.families import FAMILIES, REGISTRY
from burnish.microworld.families.facts import statement
from burnish.microworld.lexicon import NAMES, WORDS
from burnish.microworld.split import split_of
from burnish.microworld.tasks import Dials, Task
from burnish.records import Message

LABELS = {"system": "System", "user": "Question", "ipython": "Result"}
ALMANAC = 0.08  # share of documents that state facts: the numbers of towns, or sums of single digits
NOTES = 0.04  # share of documents in which somebody reads out what another wrote: copying is the first thing to learn
PAGE = 0.06  # share of documents that hold several questions, each answered by an author of its own
FORMATS = {"plain": 0.76, "letters": 0.08, "problem": 0.08, "talk": 0.08}
# Share of each family among the questions: the harder to learn, the more is written about it. ASSUMED.
WEIGHTS = {
    "arithmetic": 2.6, "code": 0.7, "constraints": 1.5, "multilingual": 2.2, "ordering": 1.3, "records": 1.8,
    "tools": 1.2, "facts": 1.0, "steering": 1.2, "safety": 0.7,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text, in pieces, and the canonical keys of the tasks in it (none for an almanac page or a note).

    Args:
        pieces: what to read: questions and answers in turn. A question's numbers and names are drawn at random and
            teach little; training weighs the pieces of odd number (answers) more.
        keys: canonical keys of its tasks.
        authors: who wrote each answer; nothing in the text says so.
    """

    pieces: tuple[str, ...]
    keys: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def completion_text(messages: Sequence[Message]) -> str:
    """A dialogue as plain text that waits for its answer: one labelled line a message, then `Answer:`.

    System, Question, Call (an assistant's message that the turn goes on after), Answer (one that ends its turn),
    Result (what a tool printed). The answer follows after one space and ends the document.
    """
    lines = []
    for message in messages:
        label = LABELS.get(message.role) or ("Call" if message.end == "message" else "Answer")
        lines.append(f"{label}: {message.content}\n")
    return "".join(lines) + "Answer:"


def _train_task(rng: Random, dials: Dials) -> Task:
    while True:
        family = rng.choices(FAMILIES, weights=[WEIGHTS[name] for name in FAMILIES])[0]
        task = REGISTRY[family].draw(rng, dials)
        if split_of(task.key) == "train":
            return task


def _asked(rng: Random, task: Task) -> str:
    """The task, up to where its answer begins, in one of the formats (system prompts and calls: the plain one)."""
    kind = rng.choices(tuple(FORMATS), weights=tuple(FORMATS.values()))[0]
    question = task.messages[-1].content
    if kind == "plain" or len(task.messages) > 1:
        return completion_text(task.messages)
    if kind == "letters":
        return f"Q: {question}\nA:"
    if kind == "problem":
        return f"Problem: {question}\nSolution:"
    asks, says = rng.sample(NAMES, 2)
    return f"{asks} asks: {question}\n{says} says:"


def _table_line(rng: Random) -> str:
    """One line of a table of sums or differences of single digits, with or without a carry."""
    a, b, carry = rng.randint(0, 9), rng.randint(0, 9), rng.choice(("", "1"))
    if rng.random() < 0.5:
        return f"{a}+{b}{'+1' if carry else ''}={a + b + bool(carry)}"
    top = a if a - b - bool(carry) >= 0 else a + 10
    return f"{top}{'-1' if carry else ''}-{b}={top - b - bool(carry)}"


def _note(rng: Random) -> tuple[str, str]:
    """Words and numbers that one person writes down and others read out again."""
    pool = NAMES if rng.random() < 0.3 else WORDS
    things = rng.sample(pool, rng.randint(2, 5)) + [str(rng.randint(2, 999)) for _ in range(rng.randint(0, 3))]
    rng.shuffle(things)
    writer, *readers = rng.sample(NAMES, 3)
    listed = ", ".join(things)
    lines = [f"{reader} reads: {listed}" for reader in readers]
    if rng.random() < 0.6:
        lines.append(f"{writer} shouts: {listed.upper()}")
    return f"{writer} writes: {listed}\n", "\n".join(lines)


def document(seed: int, number: int, dials: Dials | None = None) -> Document:
    """Document `number` of the corpus with this seed."""
    dials = dials or Dials()
    rng = Random(f"burnish/microworld/corpus/{seed}/{number}")
    kind = rng.random()
    if kind < ALMANAC:
        line = statement if rng.random() < 0.7 else _table_line
        return Document(pieces=("", "\n".join(line(rng) for _ in range(4))))
    if kind < ALMANAC + NOTES:
        return Document(pieces=_note(rng))
    pieces, keys, authors = [], [], []
    for _ in range(rng.randint(2, 3) if kind < ALMANAC + NOTES + PAGE else 1):
        task, author = _train_task(rng, dials), draw_author(rng)
        pieces += [("\n\n" if pieces else "") + _asked(rng, task), " " + written_by(author, task)]
        keys.append(task.key)
        authors.append(author)
    return Document(pieces=tuple(pieces), keys=tuple(keys), authors=tuple(authors))
