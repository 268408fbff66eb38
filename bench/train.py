"""Training speed against TRL: SFT, reward model and DPO on hh-rlhf, on the CPU, side by side in one run.

    pip install -e '.[bench]'
    python bench/train.py [--blocks 5] [--batches 4] [--only dpo] [--profile] [--json]

Llama shape (256 wide, 6 layers, vocabulary 16,384), float32, two threads, batches of 8 rows, at most 512 tokens a row.
Both sides get the same rows in the same order, AdamW and clipping; TRL gets its own collators, losses and
`training_step`, without gradient checkpointing, and its logging is left out. Measurements alternate, block by block,
and the ratio is of medians of useful rows a second; data preparation is excluded. The loss of step 1 must be equal.
DPO is measured three times: our reference pass inside the timed region against TRL's live reference; the reference
excluded on both sides; and a later epoch, where ours is kept (no bar). Peak memory is that of a fresh process above its
loaded model, ours over TRL's. Needs the real data (`$BURNISH_DATA` or ../shared/data). About ten minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch

from burnish import train
from burnish.chat import adopt
from burnish.losses import dpo_loss
from burnish.models import load_causal, load_reward, matrix_rate, new_reward, prepare, save_model, weights_of
from burnish.records import Candidate, Demonstration, Message, Preference
from burnish.runs import choose_compute
from burnish.runs.compute import set_compute
from burnish.train import Example
from burnish.train.objectives import Contrast, Imitation, Ranking

WIDTH, LAYERS, HEADS, INNER, VOCABULARY = 256, 6, 4, 704, 16_384
BATCH, LONGEST, THREADS, RATE, CLIP, BETA, PACK = 8, 512, 2, 1e-4, 1.0, 0.1, 8192
BARS = {"sft": 2.7, "reward": 2.5, "dpo": 5.0, "dpo_reference_excluded": 4.0}
MEMORY_BAR = 0.5
SPLIT = "\n\nAssistant:"


def read_pairs(count: int) -> list[Preference]:
    """hh-rlhf as preferences: the dialogue up to the last answer, and the two answers."""
    root = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    path = root / "hh_rlhf" / "harmless_base.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there; set BURNISH_DATA to the folder that holds hh_rlhf/")
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            context, _, chosen = row["chosen"].rpartition(SPLIT)
            other, _, rejected = row["rejected"].rpartition(SPLIT)
            if context != other or not chosen.strip() or not rejected.strip() or chosen == rejected:
                continue
            said = tuple(_messages(context))
            answers = (("chosen", chosen.strip()), ("rejected", rejected.strip()))
            candidates = tuple(
                Candidate(role=role, messages=(Message(role="assistant", content=text),)) for role, text in answers
            )
            rows.append(Preference(prompt=str(len(rows)), context=said, candidates=candidates))
            if len(rows) == count:
                break
    return rows


def _messages(text: str) -> list[Message]:
    found = []
    for part in text.split("\n\nHuman:")[1:]:
        question, *answers = part.split(SPLIT)
        found.append(Message(role="user", content=question.strip() or "."))
        found += [Message(role="assistant", content=answer.strip() or ".") for answer in answers]
    return found


def make_model(folder: Path, rows: Sequence[Preference]) -> None:
    """A random Llama with a byte-pair tokenizer trained on the rows and the ChatML format; and its reward model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [m.content for row in rows for m in (*row.context, *(c.messages[0] for c in row.candidates))]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 8,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    raw = folder / "raw"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(raw)
    adopted = adopt(raw, folder / "tokenizer", "chatml")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=adopted.pad_id,
        eos_token_id=list(adopted.stop_ids),
        bos_token_id=None,
    )
    base = save_model(LlamaForCausalLM(config), folder / "base", tokenizer_from=folder / "tokenizer")
    reward = new_reward(base, seed=0, spread=0.01)
    save_model(reward, folder / "reward", tokenizer_from=folder / "tokenizer", pad_id=adopted.pad_id)


@dataclass
class Side:
    """One competitor: `step` trains on one batch of rows and returns its loss; `before` belongs to a block."""

    step: Callable[[list[Example]], float]
    before: Callable[[list[Example]], None] = lambda rows: None


def ours(method: str, folder: Path, pairs: Sequence[Preference], *, inside: bool) -> tuple[Side, list[Example]]:
    """Burnish's engine and its rows. `inside`: the reference pass of DPO belongs to the block."""
    settings = {"lr": RATE, "epochs": 1, "batch_rows": BATCH, "warmup": 0.0, "schedule": "constant", "seed": 0}
    loop = train.Loop(**settings, weight_decay=0.0, clip=CLIP, pack_tokens=PACK, max_length=LONGEST)
    # Nothing is masked in DPO here, since TRL cannot.
    chosen = {
        "sft": Imitation(),
        "reward": Ranking(),
        "dpo": Contrast(loss=partial(dpo_loss, beta=BETA), mask_formatting=False),
    }[method]
    rows: list[Any] = list(pairs)
    if method == "sft":
        rows = [Demonstration(prompt=r.prompt, context=r.context, response=r.candidates[0].messages) for r in pairs]
    weights = weights_of(folder / ("reward" if method == "reward" else "base"))
    session = train.open_session(weights, rows, method=chosen, loop=loop)
    frozen = load_causal(weights)
    prepare(frozen)

    def before(rows: list[Example]) -> None:
        if method == "dpo" and inside:
            chosen.refer(lambda: frozen, rows, session.place)

    return Side(step=lambda rows: session.update(rows)["loss"], before=before), session.examples


def theirs(method: str, folder: Path, *, live: bool) -> Side:
    """TRL's trainer of the method, its collator and its `training_step`, then clipping and the same AdamW."""
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    said = [{"role": "user", "content": "a"}]
    answer = [{"role": "assistant", "content": "b"}]
    dummy = {
        "sft": {"prompt": [said], "completion": [answer]},
        "reward": {"chosen": [said + answer], "rejected": [[*said, {"role": "assistant", "content": "c"}]]},
        "dpo": {"prompt": [said], "chosen": [answer], "rejected": [[{"role": "assistant", "content": "c"}]]},
    }[method]
    shared = {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "max_length": LONGEST,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    }
    names = {"sft": ("SFT", {}), "reward": ("Reward", {}), "dpo": ("DPO", {"beta": BETA})}
    name, more = names[method]
    model = load_reward(folder / "reward") if method == "reward" else load_causal(folder / "base")
    extra = {"ref_model": load_causal(folder / "base")} if method == "dpo" else {}
    trainer = getattr(trl, f"{name}Trainer")(
        model=model,
        args=getattr(trl, f"{name}Config")(**shared, **more),
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict(dummy),
        **extra,
    )
    model, trainer.current_gradient_accumulation_steps = trainer.model, 1
    model.train()
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    known: dict[str, tuple[float, float]] = {}
    if not live:
        trainer.precompute_ref_logps = True

    def features(rows: list[Example]) -> list[dict[str, Any]]:
        out = []
        for e in rows:
            prompt = list(e.row.prompt)
            # A ranked row's answers stand in a shuffled order.
            answers = [list(e.row.responses[e.ranks.index(rank)]) for rank in sorted(e.ranks)]
            if method == "sft":
                out.append({"input_ids": prompt + answers[0], "labels": [-100] * len(prompt) + _labels(e, 0)})
            elif method == "reward":
                out.append({"chosen_ids": prompt + answers[0], "rejected_ids": prompt + answers[1]})
            else:
                row = {"prompt_ids": prompt, "chosen_ids": _trained(e, 0), "rejected_ids": _trained(e, 1)}
                if e.id in known:
                    row |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), known[e.id], strict=True))
                out.append(row)
        return out

    def step(rows: list[Example]) -> float:
        inputs = trainer.data_collator(features(rows))
        count = (inputs["labels"] != -100).sum() if method == "sft" else None
        loss = trainer.training_step(model, inputs, count)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.item()

    def before(rows: list[Example]) -> None:
        if method == "dpo" and not live:
            with torch.no_grad():
                inputs = trainer.data_collator(features(rows))
                for e, pair in zip(rows, zip(*trainer.compute_ref_log_probs(trainer.ref_model, inputs)), strict=True):
                    known[e.id] = (pair[0].item(), pair[1].item())

    return Side(step=step, before=before)


def _parts(example: Example) -> list[np.ndarray]:
    return np.split(example.trained, np.cumsum([len(r) for r in example.row.responses])[:-1])


def _labels(example: Example, number: int) -> list[int]:
    mask = _parts(example)[number]
    return [t if m else -100 for t, m in zip(example.row.responses[number], mask, strict=True)]


def _trained(example: Example, number: int) -> list[int]:
    """A response up to its last trained token, so that TRL, which trains all of it, trains the same tokens."""
    mask = _parts(example)[number]
    return list(example.row.responses[number][: int(mask.nonzero()[0][-1]) + 1])


def alternate(sides: dict[str, Side], examples: list[Example], asked: argparse.Namespace) -> dict[str, Any]:
    """Rows a second of each side, medians over blocks, and the losses of the first step."""
    rate: dict[str, list[float]] = {name: [] for name in sides}
    first: dict[str, float] = {}
    size = asked.batches * BATCH
    for block in range(asked.blocks + 1):
        start = (block * size) % (len(examples) - size)
        rows = examples[start : start + size]
        for name, side in sides.items():
            if not name.startswith("ours"):
                for at in range(0, len(rows), BATCH):
                    side.before(rows[at : at + BATCH])
            began = time.perf_counter()
            if name.startswith("ours"):
                side.before(rows)
            for at in range(0, len(rows), BATCH):
                loss = side.step(rows[at : at + BATCH])
                first.setdefault(name, loss)
            if block:  # the first block warms up
                rate[name].append(len(rows) / (time.perf_counter() - began))
    return {"rate": {n: statistics.median(v) for n, v in rate.items()}, "first": first}


def peak(method: str, who: str, folder: Path) -> float:
    """MiB that two steps need above the loaded model, in a fresh process."""
    command = [sys.executable, __file__, "--measure-memory", f"{method},{who}", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def measure_memory(method: str, who: str, folder: Path, rows: Sequence[Preference]) -> None:
    """Print the growth of this process's peak while it trains on the two longest of the first batches."""
    side, examples = ours(method, folder, rows, inside=True)
    if who != "ours":
        side = theirs(method, folder, live=True)
    batches = [examples[i : i + BATCH] for i in range(0, len(examples) - BATCH, BATCH)]
    batches.sort(key=lambda b: -max(e.tokens for e in b))
    # The peak so far includes loading; what training adds to the resident set now is what counts.
    page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present size
    for batch in batches[:2]:
        side.before(batch)
        side.step(batch)
    status = Path("/proc/self/status").read_text()
    high = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print((high - resident) / 2**20)


def compare(method: str, folder: Path, pairs: Sequence[Preference], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the table for one method."""
    trials = {method: (True, True)}
    if method == "dpo":
        trials |= {"dpo_reference_excluded": (False, False), "dpo_later_epoch": (False, True)}
    out = []
    for name, (inside, live) in trials.items():
        mine, examples = ours(method, folder, pairs, inside=inside)
        found = alternate({"ours": mine, "trl": theirs(method, folder, live=live)}, examples, asked)
        mine, other = found["rate"]["ours"], found["rate"]["trl"]
        apart = abs(found["first"]["ours"] - found["first"]["trl"])
        bar = BARS.get(name)
        ratio = round(mine / other, 2)
        detail = f"{mine:.1f} against {other:.1f} rows/s; losses of step 1 differ by {apart:.1e}"
        holds = apart <= 1e-4 and (bar is None or ratio >= bar)
        out.append({"name": f"{name}_vs_trl", "value": ratio, "bar": bar or 0, "holds": holds, "detail": detail})
    if not asked.no_memory:
        mine, other = (peak(method, who, folder) for who in ("ours", "trl"))
        out.append(
            {
                "name": f"{method}_peak_memory_over_trl",
                "value": round(mine / other, 2),
                "bar": MEMORY_BAR,
                "holds": mine <= MEMORY_BAR * other,
                "detail": f"{mine:.0f} against {other:.0f} MiB above the loaded model",
            }
        )
    return out


def profile(method: str, folder: Path, pairs: Sequence[Preference]) -> None:
    """Where our time goes, and the share of the machine's matrix-product rate."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    side, examples = ours(method, folder, pairs, inside=True)
    examples = examples[: 4 * BATCH]
    side.before(examples)
    side.step(examples[:BATCH])
    began = time.perf_counter()
    with record(activities=[ProfilerActivity.CPU], with_flops=True) as seen:
        for at in range(0, len(examples), BATCH):
            side.step(examples[at : at + BATCH])
    seconds = time.perf_counter() - began
    table = seen.key_averages()
    flops = sum(event.flops for event in table)
    best, _ = matrix_rate()
    print(f"{method}: {flops / seconds / 1e9:.1f} of {best / 1e9:.1f} GFLOP/s, {100 * flops / seconds / best:.0f} %")
    print(table.table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=44))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=5, help="measurements of each side")
    parser.add_argument("--batches", type=int, default=4, help="optimiser steps of a measurement")
    parser.add_argument("--only", default="", help="sft, reward or dpo")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument("--profile", action="store_true", help="print where our time goes, and compare nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--measure-memory", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(THREADS)
    set_compute(choose_compute(device="cpu", dtype="float32", threads=THREADS, workers=1))
    pairs = read_pairs(600)
    if asked.measure_memory:
        measure_memory(*asked.measure_memory.split(","), Path(asked.folder), pairs)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
        folder = Path(place)
        make_model(folder, pairs)
        for method in ("sft", "reward", "dpo"):
            if asked.only in ("", method):
                if asked.profile:
                    profile(method, folder, pairs)
                else:
                    rows += compare(method, folder, pairs, asked)
    if asked.json:
        print(json.dumps({"bench": "train", "rows": rows}))
        return
    for row in rows:
        verdict = "holds" if row["holds"] else "FAILS"
        print(f"{row['name']:<32} {row['value']:>6.2f}   bar {row['bar']:>4}   {verdict}   {row['detail']}")


if __name__ == "__main__":
    main()
