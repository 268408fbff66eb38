"""Train with a method in memory, and score rows that it has not seen; parts of `learns.py` and `real_rows.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.chat import Chat, load_chat, load_tokens
from burnish.models import build_pack, grade_logits, response_states, token_logits, token_scores
from burnish.records import GRADES, Demonstration, Document, Preference, Weights
from burnish.train import METHODS, Example, Loop, Session, open_session, packs
from burnish.train.batch import encode_all, encode_demonstration, encode_pair
from burnish.train.documents import cut_document
from burnish.train.methods.settings import Optimisation
from burnish.train.objectives import Steps
from burnish.train.objectives.method import selection, trained_logprobs
from burnish.train.objectives.ranking import scores_of

PACK = 4096


def start(
    base: Weights, rows: Sequence[Any], method: str, *, teacher: Weights | None = None, **settings: Any
) -> Session:
    """A training that has not made a step, with the settings of `burnish train`; rows that are too long are dropped."""
    known = METHODS[method]
    chosen = known.settings(refuse_above=1.0, **settings)
    built = known.build(chosen, *([teacher] if known.teacher else []))
    loop = Loop(**{f.name: getattr(chosen, f.name) for f in fields(Optimisation)})
    return open_session(base, rows, method=built, loop=loop)


def finish(session: Session) -> None:
    """All steps of the training."""
    for batch in session.batches:
        session.update([session.examples[index] for index in batch])
    session.optimiser.finish()


def encoded(base: Weights, rows: Sequence[Any], *, max_length: int = 2048) -> list[Example]:
    """Rows as tokens, a preference as best (first) and worst answer, steps with their labels; longer ones are left out.

    A document must fit.
    """
    if isinstance(rows[0], Document):
        tokens = load_tokens(base.path)
        return [example for row in rows for example in cut_document(tokens, row, max_length=max_length)]
    encode: Any = encode_pair if isinstance(rows[0], Preference) else encode_demonstration
    if isinstance(rows[0], Demonstration) and rows[0].steps:
        encode = Steps().encode
    chat: Chat = load_chat(Path(base.path))
    return encode_all(encode, chat, rows, max_length=max_length, refuse_above=1.0)[0]


@torch.no_grad()
def answer_sums(model: torch.nn.Module, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Example id -> [answers] sum of log-probabilities of its trained tokens."""
    found = {}
    for part in packs(examples, budget=PACK):
        logprobs, owner = trained_logprobs(model, part)
        count = sum(len(e.row.responses) for e in part)
        sums = torch.zeros(count, dtype=torch.float64).index_add_(0, owner, logprobs.double())
        pieces = sums.split([len(e.row.responses) for e in part])
        found |= {e.id: piece for e, piece in zip(part, pieces, strict=True)}
    return found


@torch.no_grad()
def token_figures(model: torch.nn.Module, examples: Sequence[Example]) -> tuple[float, float]:
    """Mean loss of the trained tokens in nats, and the share of them that are the likeliest token."""
    loss, right, count = 0.0, 0, 0
    for part in packs(examples, budget=PACK):
        pack, chosen = build_pack([e.row for e in part]), selection(part)
        logits = token_logits(model, pack, select=chosen)
        targets = pack.targets[chosen]
        loss += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        right += int((logits.argmax(1) == targets).sum())
        count += len(targets)
    return loss / count, right / count


@torch.no_grad()
def divergence(model: torch.nn.Module, teacher: torch.nn.Module, examples: Sequence[Example]) -> float:
    """Mean KL(teacher || model) of the trained tokens, in nats."""
    total, count = 0.0, 0
    for part in packs(examples, budget=PACK):
        pack, chosen = build_pack([e.row for e in part]), selection(part)
        mine, his = (token_logits(m, pack, select=chosen).log_softmax(1) for m in (model, teacher))
        total += (his.exp() * (his - mine)).sum().item()
        count += mine.shape[0]
    return total / count


@torch.no_grad()
def reward_scores(model: torch.nn.Module, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Example id -> [answers, heads] scores."""
    found = {}
    for part in packs(examples, budget=PACK):
        scores = scores_of(model, part, share_prefix=True, isolate=True)
        scores = scores.view(scores.shape[0], -1).double()
        pieces = scores.split([len(e.row.responses) for e in part])
        found |= {e.id: piece for e, piece in zip(part, pieces, strict=True)}
    return found


@torch.no_grad()
def step_scores(model: torch.nn.Module, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Example id -> [steps] scores, each on the token that its step ends with."""
    found = {}
    for part in packs(examples, budget=PACK):
        scores = token_scores(model, build_pack([e.row for e in part]), select=selection(part)).double()
        found |= {e.id: one for e, one in zip(part, scores.split([e.trained_tokens for e in part]), strict=True)}
    return found


@torch.no_grad()
def grade_figures(
    model: torch.nn.Module, examples: Sequence[Example], given: Mapping[str, Sequence[Mapping[str, int]]]
) -> dict[str, tuple[float, float]]:
    """Question -> share of the grades that its head hits, and the share of the commonest class.

    Args:
        given: example id -> for each answer, question -> class; a question that is missing does not count.
    """
    hits: dict[str, list[bool]] = {}
    classes: dict[str, Counter[int]] = {}
    for part in packs(examples, budget=PACK):
        said = grade_logits(model, response_states(model, build_pack([e.row for e in part]))).argmax(2).tolist()
        answers = [answer for e in part for answer in given[e.id]]
        for line, answer in zip(said, answers, strict=True):
            for place, name in enumerate(GRADES):
                if name in answer:
                    hits.setdefault(name, []).append(line[place] == answer[name])
                    classes.setdefault(name, Counter())[answer[name]] += 1
    return {n: (sum(hit) / len(hit), max(classes[n].values()) / len(hit)) for n, hit in hits.items()}


def pearson(one: Sequence[float], other: Sequence[float]) -> float:
    """Correlation; 0 where a side does not vary."""
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (one, other))
    a, b = a - a.mean(), b - b.mean()
    norm = (a.norm() * b.norm()).item()
    return (a @ b).item() / norm if norm else 0.0
