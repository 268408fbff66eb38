"""The two competitors of `bench/on_policy.py`: a round of Burnish's GRPO, and TRL's trainer without its loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.chat import load_chat
from burnish.llm.local.decode import Decoder, open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits
from burnish.llm.local.styles import ChatStyle
from burnish.models import Row, load_causal, save_model, weights_of
from burnish.records import Preference, Prompt, Sampling, Weights
from burnish.train.batch import Example
from burnish.train.on_policy import Reward
from burnish.train.on_policy.groups import Books, Rewarded, example_of
from burnish.train.on_policy.loop import open_fresh
from burnish.train.on_policy.methods import planned_fresh
from burnish.train.on_policy.settings import GrpoSettings

PROMPTS, SAMPLES, TOKENS, BETA, RATE, CLIP, PACK = 8, 8, 64, 0.04, 1e-5, 1.0, 1024
LONGEST_PROMPT = 256
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = "wall"  # which of them measures; the process's own time where others use the machine


def now() -> float:
    """Seconds on the chosen clock."""
    return CLOCKS[clock]()


class Endless(ChatStyle):
    """The chat format with nothing that ends an answer, so that all have the same length."""

    stop_ids = ()


def worth(ids: Sequence[int]) -> float:
    """A reward that costs nothing and differs between answers."""
    return sum(ids) % 97 / 97


def prompts_of(pairs: Sequence[Preference], folder: Path) -> list[Prompt]:
    """Dialogues of real pairs, those of at most `LONGEST_PROMPT` tokens."""
    style = ChatStyle(load_chat(folder))
    found = [Prompt(messages=row.context, source=f"row {number}") for number, row in enumerate(pairs)]
    return [prompt for prompt in found if len(style.encode(prompt)) <= LONGEST_PROMPT]


def moved(base: Weights, folder: Path) -> Weights:
    """A reference that is not the policy, so that the loss of the first step is not 0 by construction."""
    model = load_causal(base)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    return save_model(model, folder, tokenizer_from=Path(base.path))


@dataclass
class Ours:
    """Rounds of Burnish's GRPO; `parts` are seconds of each part of each round."""

    base: Weights
    reference: Weights
    number: int = 0
    parts: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = GrpoSettings(
            lr=RATE, beta=BETA, rounds=1000, prompts=PROMPTS, samples=SAMPLES, max_new_tokens=TOKENS, clip=CLIP,
            std="sample", weight_decay=0.0, pack_tokens=PACK,
        )  # fmt: skip
        method, loop, exploring = planned_fresh(settings, "grpo")
        method.reference = self.reference
        how = {"method": method, "loop": loop, "exploring": exploring, "work": None}
        self.session, self.sampler = open_fresh(self.base, **how)
        self.session.batches = [[]] * exploring.rounds
        self.sampler.style = Endless(self.sampler.style.chat)

    @staticmethod
    def sampling() -> Sampling:
        """How answers are drawn."""
        return Sampling(temperature=1.0, max_new_tokens=TOKENS, seed=0)

    def round(self, prompts: Sequence[Prompt]) -> float:
        """Answers, rewards, reference, update; the loss."""
        marks = [now()]
        how = {"sampling": self.sampling(), "first": self.number * PROMPTS, "number": self.number}
        groups = self.sampler.draw(prompts, n=SAMPLES, **how)
        marks.append(now())
        found = [
            Rewarded(group=group, rewards=tuple(Reward(value=worth(r.token_ids)) for r in group.responses))
            for group in groups
        ]
        books = Books()
        kept = books.take(found)
        self.examples = [example_of(one) for one in kept]
        marks.append(now())
        sampled = {
            e.id: torch.tensor([p for r in one.group.responses for p in r.logprobs], dtype=torch.float64)
            for e, one in zip(self.examples, kept, strict=True)
        }
        self.session.method.explored(self.session.model, [self.examples], sampled, self.session.place)
        marks.append(now())
        line = self.session.update(self.examples, told=books.told())
        marks.append(now())
        self.number += 1
        for name, a, b in zip(("answers", "rewards", "reference", "update"), marks[:-1], marks[1:], strict=True):
            self.parts.setdefault(name, []).append(b - a)
        if any(len(r) != TOKENS for e in self.examples for r in e.row.responses) or len(kept) != PROMPTS:
            raise SystemExit("an answer of ours has another length, or a group has gone")
        return line["loss"]


class Theirs:
    """Rounds of TRL's GRPOTrainer: its generation, rewards, reference and loss, then clipping and the same AdamW."""

    def __init__(self, base: Weights, reference: Weights, folder: Path, *, size: int) -> None:
        """Args:
        size: answers of one forward and backward pass; the round is the sum of them.
        """
        import trl
        from datasets import Dataset
        from transformers import AutoTokenizer

        self.size = size
        model = load_causal(base)
        config = trl.GRPOConfig(
            output_dir=str(folder / "trl"), per_device_train_batch_size=size,
            gradient_accumulation_steps=PROMPTS * SAMPLES // size, num_generations=SAMPLES,
            max_completion_length=TOKENS, beta=BETA, loss_type="grpo", learning_rate=RATE, temperature=1.0,
            gradient_checkpointing=False, bf16=False, use_cpu=True, report_to="none", disable_tqdm=True,
        )  # fmt: skip
        self.trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=lambda completion_ids, **_: [worth(ids) for ids in completion_ids],
            args=config,
            train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": "a"}]]}),
            processing_class=AutoTokenizer.from_pretrained(base.path),
        )
        self.trainer.current_gradient_accumulation_steps = PROMPTS * SAMPLES // size
        self.trainer.ref_model.load_state_dict(load_causal(reference).state_dict())
        # Nothing ends an answer here either.
        self.trainer.eos_token_ids = [-1]
        self.trainer.generation_config.eos_token_id = None
        self.trainer.generation_kwargs["eos_token_id"] = None
        model.generation_config.eos_token_id = None
        self.model = model
        self.adam = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)

    def round(self, prompts: Sequence[Prompt]) -> float:
        """As ours."""
        asked = [{"prompt": [{"role": m.role, "content": m.content} for m in p.messages]} for p in prompts]
        rows = [one for one in asked for _ in range(SAMPLES)]
        loss = 0.0
        for _ in range(len(rows) // self.size):
            loss += self.trainer.training_step(self.model, rows, None).item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        lengths = self.trainer._metrics["train"]["completions/min_length"]
        if lengths[-1] != TOKENS:
            raise SystemExit("an answer of TRL's has another length")
        return loss

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """What TRL makes of prompts."""
        asked = [[{"role": m.role, "content": m.content} for m in p.messages] for p in prompts]
        return self.trainer._tokenize_prompts(asked)[0]

    def loss_on(self, examples: Sequence[Example], advantages: torch.Tensor) -> float:
        """Its loss on our answers; advantages [prompts * samples]."""
        rows = [(e.row.prompt, r) for e in examples for r in e.row.responses]
        ids, mask = padded([p for p, _ in rows], self.trainer._tokenizer.pad_token_id)
        answers = torch.tensor([r for _, r in rows])
        there = torch.ones_like(answers)
        whole, seen = torch.cat([ids, answers], 1), torch.cat([mask, there], 1)
        trainer = self.trainer
        with torch.no_grad():
            known, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.ref_model, whole, seen, TOKENS, batch_size=8
            )
            self.model.train()
            inputs = {"prompt_ids": ids, "prompt_mask": mask, "completion_ids": answers, "completion_mask": there}
            inputs |= {"advantages": advantages.float(), "ref_per_token_logps": known}
            loss = trainer._compute_loss(self.model, inputs).item()
        return loss * trainer.current_gradient_accumulation_steps


def padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


@dataclass
class Drawing:
    """The sampler and `generate`, on the same prompts and lengths; both draw at temperature 1 from all tokens."""

    base: Weights
    calls: int = 0

    def __post_init__(self) -> None:
        self.decoder: Decoder = open_decoder(load_causal(self.base))
        self.model = load_causal(self.base)
        self.model.generation_config.eos_token_id = None

    def ours(self, prompts: Sequence[Sequence[int]], lengths: np.ndarray) -> float:
        """Seconds of our sampler; lengths [prompts * samples]."""
        began = now()
        self.calls += 1
        keys = [key(self.calls, str(i), s) for i in range(len(prompts)) for s in range(SAMPLES)]
        most = int(lengths.max())
        limits = Limits(max_new_tokens=most, temperature=1.0, lengths=tuple(lengths.tolist()))
        drawn = self.decoder.generate(prompts, SAMPLES, uniforms(keys, most), limits)
        seconds = now() - began
        if [len(ids) for ids in drawn.token_ids] != lengths.tolist():
            raise SystemExit("an answer of ours has another length")
        return seconds

    def theirs(self, prompts: Sequence[Sequence[int]], lengths: np.ndarray) -> float:
        """Seconds of one `generate` call on all rows."""
        from transformers import StoppingCriteria, StoppingCriteriaList

        rows = [p for p in prompts for _ in range(SAMPLES)]
        ids, mask = padded(rows, 0)
        start, wanted = ids.shape[1], torch.from_numpy(lengths)

        class Full(StoppingCriteria):
            def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
                return wanted <= input_ids.shape[1] - start

        most = int(lengths.max())
        ragged = {"stopping_criteria": StoppingCriteriaList([Full()])} if (lengths < most).any() else {}
        began = now()
        how = {"do_sample": True, "top_k": 0, "max_new_tokens": most, "pad_token_id": 0}
        out = self.model.generate(ids, attention_mask=mask, **how, **ragged)
        seconds = now() - began
        if out.shape[1] - start != most:
            raise SystemExit("an answer of generate has another length")
        return seconds


def long_rows(vocabulary: int, count: int = PROMPTS, times: int = 4) -> list[Example]:
    """Groups whose prompts are `times` as long as the answers; random tokens."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        prompt = tuple(generator.integers(3, vocabulary, times * TOKENS).tolist())
        answers = tuple(tuple(generator.integers(3, vocabulary, TOKENS).tolist()) for _ in range(SAMPLES))
        there, size = np.ones(SAMPLES * TOKENS, dtype=bool), len(prompt) + SAMPLES * TOKENS
        rows.append(
            Example(
                id=str(number),
                row=Row(prompt=prompt, responses=answers),
                trained=there,
                formatting=~there,
                ranks=tuple(range(SAMPLES)),
                values=tuple(generator.random(SAMPLES).tolist()),
                tokens=size,
            )
        )
    return rows


def base_of(folder: Path) -> Weights:
    return weights_of(folder / "base")
