"""A tiny random Llama folder with its own byte-level tokenizer, and rows to train it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.models import load_causal, weights_of
from burnish.records import GRADES, Attribute, Candidate, Demonstration, Document, Message, Preference, Step, Weights
from burnish.train.checkpoint import Progress

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LOOP: dict[str, Any] = {
    "lr": 3e-3,
    "epochs": 2,
    "batch_rows": 4,
    "warmup": 0.1,
    "schedule": "cosine",
    "seed": 3,
    "weight_decay": 0.01,
    "clip": 1.0,
}


@dataclass
class Folders:
    """The plain part of `protocols.Work`: two folders and how often progress was told."""

    folder: Path
    scratch: Path
    told: list[int] = field(default_factory=list)

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.told.append(done)


def folders(place: Path) -> Folders:
    for name in ("artifact", "scratch"):
        (place / name).mkdir(parents=True, exist_ok=True)
    return Folders(place / "artifact", place / "scratch")


def tree(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Killed(BaseException):
    """Stands for the end of the process: nothing is saved on the way out."""


def stopper(stop: BaseException, at: int) -> Callable[[Any], None]:
    """A `track` that raises at the end of step `at`."""

    def track(line: Any) -> None:
        if line["step"] == at:
            raise stop

    return track


def check_killed(
    train: Callable[..., Any], place: Path, steps: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Folders]:
    """A training killed after each of these steps ends with the files and the numbers of one that was left alone.

    Args:
        train: takes the folders, and `track`. From the first kill on a checkpoint is written whenever one may be.

    Returns:
        The outcome and the folders of the training that went on.
    """
    straight = folders(place / "straight")
    whole = train(straight)
    monkeypatch.setattr(Progress, "due", lambda self, step: self.scratch is not None)
    for at in steps:
        with pytest.raises(Killed):
            train(folders(place / "broken"), track=stopper(Killed(), at))
    work = folders(place / "broken")
    resumed = train(work)
    assert tree(work.folder) == tree(straight.folder) and resumed.metrics == whole.metrics
    return resumed, work


def make_model(place: Path, *, seed: int = 0, template: str | None = CHATML, scale: float = 4.0) -> Weights:
    """A 2-layer Llama of 32 channels. `scale` enlarges its weights, so that attention is far from uniform."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if template else ["<|endoftext|>"]
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    stop = "<|im_end|>" if template else "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=stop, pad_token="<|endoftext|>")
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    place.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return weights_of(place)


def near(base: Weights, place: Path) -> Weights:
    """What `base` might have been tuned from: the same model with every weight a little elsewhere."""
    import shutil

    shutil.copytree(base.path, place, dirs_exist_ok=True)
    model = load_causal(base)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.sub_(1e-2 * torch.randn(parameter.shape))
    model.save_pretrained(place)
    return weights_of(place)


def said(role: str, content: str, end: str = "turn") -> Message:
    return Message(role=role, content=content, end=end)


def demonstrations(count: int = 10) -> list[Demonstration]:
    """Short sums; every third answer is a call, what the tool printed, and a closing answer."""
    rows = []
    for i in range(count):
        answer: tuple[Message, ...] = (said("assistant", f"{i + 2}" + "." * (i % 4)),)
        if i % 3 == 2:
            answer = (said("assistant", f"add {i}", "message"), said("ipython", f"got {i + 2}"), *answer)
        context = (said("user", f"{i} + 2" + "?" * (i % 5)),)
        rows.append(Demonstration(prompt=f"p{i}", context=context, response=answer))
    return rows


def preferences(count: int = 10, ways: tuple[int, ...] = (2, 3)) -> list[Preference]:
    """Right beats wrong; every second row has an edited answer on top; some answers hold several messages."""
    rows = []
    for i in range(count):
        texts = [("edited", f"{i + 2}!"), ("chosen", f"{i + 2}"), ("rejected", f"{i + 3} or so")]
        texts = texts[-ways[i % len(ways)] :]
        candidates = []
        for role, text in texts:
            messages: tuple[Message, ...] = (said("assistant", text),)
            if i % 4 == 3:
                messages = (said("assistant", "look", "message"), said("ipython", f"saw {i}"), *messages)
            candidates.append(Candidate(role=role, messages=messages))
        context = (said("system", "Sum."), said("user", f"{i} + 2"))
        rows.append(Preference(prompt=f"p{i}", context=context, candidates=tuple(candidates), strength=3))
    return rows


def rated_preferences(count: int = 10, ways: tuple[int, ...] = (2, 3)) -> list[Preference]:
    """`preferences` with a strength of each level, a margin (0 too), a score from 0 to 10 and grades of each answer.

    Some grades are missing: in every third row all of the last answer's, and elsewhere one or the other.
    """
    rows = []
    for i, row in enumerate(preferences(count, ways)):
        scores = (9.5, 6.5 - i % 3, 1.0 + i % 4)[-len(row.candidates) :]
        grades = [
            tuple(
                Attribute(name=name, value=float((i + place + number) % 3))
                for number, name in enumerate(GRADES)
                if (i + number + place) % 5 and not (i % 3 == 0 and place == len(scores) - 1)
            )
            for place in range(len(scores))
        ]
        rated = zip(row.candidates, scores, grades, strict=True)
        candidates = tuple(replace(c, score=s, grades=g) for c, s, g in rated)
        rows.append(replace(row, id="", candidates=candidates, strength=1 + i % 4, margin=0.6 * (i % 3)))
    return rows


def rated_demonstrations(count: int = 10) -> list[Demonstration]:
    """`demonstrations` with the label 1 or 0, with two attributes of which some rows have one only, and with steps.

    The steps are cut anywhere in the last message: one to three of them, some without a label, some with half a one.
    """
    rows = []
    for i, row in enumerate(demonstrations(count)):
        graded = (Attribute(name="helpfulness", value=float(i % 5)), Attribute(name="verbosity", value=3.5 - i % 4))
        given = (graded[:1], graded, graded, graded[1:])[i % 4]
        length = len(row.response[-1].content)
        labels = (1.0, None if i % 4 else 0.5, float(i % 2), 1.0, 0.0)[i % 3 :]
        steps = tuple(
            Step(end=end, label=label)
            for end, label in zip(range(max(1, length - 2), length + 1), labels, strict=False)
        )
        rows.append(replace(row, id="", score=float(i % 3 > 0), attributes=given, steps=steps))
    return rows


def documents(count: int = 10) -> list[Document]:
    """Texts of 8 to 20 letters in two corpora that hold equally many, by turns."""
    texts = [chr(ord("a") + i) * (8 + 3 * (i // 2 % 5)) for i in range(count)]
    return [Document(text=text, corpus=("code", "talk")[i % 2], source=f"s:{i}") for i, text in enumerate(texts)]


def rows_for(noun: type) -> list[Any]:
    """Rows that every method which reads this noun can be trained on."""
    return {Demonstration: rated_demonstrations, Document: documents}.get(noun, rated_preferences)()
