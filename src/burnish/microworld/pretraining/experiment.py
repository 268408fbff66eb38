"""The decisive small experiment on a base: one round of verified rejection sampling, then supervised fine-tuning.

It works in the plain completion form, without chat, and stands for nothing else than the question whether good
behaviour is in the base and can be brought to the fore. The recipes do this properly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer

from burnish.microworld.corpus import completion_text
from burnish.microworld.pretraining.probe import complete, right
from burnish.microworld.pretraining.vocabulary import EOS
from burnish.records import Prompt

SAMPLES = 8
EPOCHS, ROWS, RATE = 2, 16, 5e-4  # ASSUMED


def rejection_round(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], *, seed: int = 0
) -> tuple[Any, int, int]:
    """Sample 8 answers a prompt, keep one right answer (the longest: steps shown), fine-tune a copy on them.

    Returns:
        the fine-tuned copy, how many prompts had a right answer, how many there were.
    """
    answers = complete(model, tokenizer, prompts, samples=SAMPLES, temperature=1.0, seed=seed)
    verdicts = right(prompts, answers)
    rows = []
    for prompt, texts, flags in zip(prompts, answers, verdicts, strict=True):
        good = [text for text, flag in zip(texts, flags, strict=True) if flag]
        if good:
            rows.append((completion_text(prompt.messages), " " + max(good, key=len)))
    return fine_tune(copy.deepcopy(model), tokenizer, rows, seed=seed), len(rows), len(prompts)


def fine_tune(model: Any, tokenizer: Tokenizer, rows: Sequence[tuple[str, str]], *, seed: int) -> Any:
    """Plain supervised fine-tuning on (prompt, answer) texts; only answers and their end are trained."""
    eos = tokenizer.token_to_id(EOS)
    data = []
    for prompt, answer in rows:
        start = tokenizer.encode(prompt).ids
        data.append((start, [*tokenizer.encode(answer, add_special_tokens=False).ids, eos]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    rng, steps, done = Random(seed), EPOCHS * -(-len(data) // ROWS), 0
    model.train()
    for _ in range(EPOCHS):
        order = rng.sample(range(len(data)), len(data))
        for begin in range(0, len(order), ROWS):
            part = [data[i] for i in order[begin : begin + ROWS]]
            width = max(len(a) + len(b) for a, b in part)
            ids = torch.full((len(part), width), eos)
            labels = torch.full((len(part), width), -100)
            for i, (a, b) in enumerate(part):
                ids[i, : len(a) + len(b)] = torch.tensor(a + b)
                labels[i, len(a) : len(a) + len(b)] = torch.tensor(b)
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - done / steps)
            loss = torch.nn.functional.cross_entropy(
                model(input_ids=ids).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            done += 1
    return model.eval()
