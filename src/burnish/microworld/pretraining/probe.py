"""What the base can do, without chat: greedy and sampled accuracy per family, and the rejection-sampling experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer

from burnish.microworld.corpus import completion_text
from burnish.microworld.pretraining.vocabulary import EOS
from burnish.microworld.prompting import checkers
from burnish.records import Prompt

NEW_TOKENS = 48
_ROWS = 384  # sampled at once


@torch.no_grad()
def complete(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], *, samples: int = 1, temperature: float = 0.0,
    seed: int = 0, new_tokens: int = NEW_TOKENS,
) -> list[list[str]]:  # fmt: skip
    """Answers in the plain completion form, [prompts][samples]; prompts of one length share a batch."""
    eos = tokenizer.token_to_id(EOS)
    ids = [tokenizer.encode(completion_text(prompt.messages)).ids for prompt in prompts]
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(ids):
        groups.setdefault(len(row), []).append(number)
    answers: list[list[str]] = [[] for _ in prompts]
    generator = torch.Generator().manual_seed(seed)
    for length in sorted(groups):
        members = groups[length]
        step = max(1, _ROWS // samples)
        for begin in range(0, len(members), step):
            part = members[begin : begin + step]
            rows = torch.tensor([ids[number] for number in part]).repeat_interleave(samples, 0)
            for number, drawn in enumerate(_draw(model, rows, eos, temperature, generator, new_tokens)):
                answers[part[number // samples]].append(tokenizer.decode(drawn).removeprefix(" "))
    return answers


def _draw(
    model: Any, rows: torch.Tensor, eos: int, temperature: float, generator: torch.Generator, new_tokens: int
) -> list[list[int]]:
    cache, feed, drawn = None, rows, []
    alive = torch.ones(len(rows), dtype=torch.bool)
    for _ in range(new_tokens):
        out = model(input_ids=feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1]
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chosen = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)[:, 0]
        drawn.append(chosen)
        alive &= chosen != eos
        if not alive.any():
            break
        feed = chosen[:, None]
    table = torch.stack(drawn, 1).tolist()
    return [row[: row.index(eos)] if eos in row else row for row in table]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyScore:
    """Accuracies of one family, 0 to 1, over `n` held-out prompts."""

    family: str
    n: int
    greedy: float
    sampled: float
    pass_at: float


def right(prompts: Sequence[Prompt], answers: Sequence[Sequence[str]]) -> list[list[bool]]:
    """Verdicts, [prompts][samples]."""
    table = checkers()
    return [[table[p.checker].check_text(p, text).correct is True for text in row]
            for p, row in zip(prompts, answers, strict=True)]  # fmt: skip


def score(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], *, samples: int = 16, seed: int = 0
) -> list[FamilyScore]:
    """Greedy accuracy, mean of the samples at temperature 1, and pass@samples, per family and in total ("all")."""
    greedy = right(prompts, complete(model, tokenizer, prompts))
    drawn = greedy
    if samples:
        answers = complete(model, tokenizer, prompts, samples=samples, temperature=1.0, seed=seed)
        drawn = right(prompts, answers)
    families = list(dict.fromkeys(prompt.ability for prompt in prompts))
    rows = []
    for family in [*families, "all"]:
        chosen = [i for i, prompt in enumerate(prompts) if family in (prompt.ability, "all")]
        n = len(chosen)
        rows.append(
            FamilyScore(
                family=family,
                n=n,
                greedy=sum(greedy[i][0] for i in chosen) / n,
                sampled=sum(sum(drawn[i]) / len(drawn[i]) for i in chosen) / n,
                pass_at=sum(any(drawn[i]) for i in chosen) / n,
            )
        )
    return rows


def table(rows: Sequence[FamilyScore], *, samples: int = 16) -> str:
    """The scores as a Markdown table, in percent; without samples the greedy column alone."""
    if not samples:
        lines = ["| family | n | greedy |", "|---|---|---|"]
        return "\n".join([*lines, *(f"| {row.family} | {row.n} | {row.greedy:.1%} |" for row in rows)])
    lines = [f"| family | n | greedy | mean of samples | pass@{samples} |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.family} | {row.n} | {row.greedy:.1%} | {row.sampled:.1%} | {row.pass_at:.1%} |")
    return "\n".join(lines)
