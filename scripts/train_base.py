"""Train the microworld's base from scratch, resumably, measure it, and put it into the package.

python scripts/train_base.py --work runs/base            # train; the same command goes on after a kill
python scripts/train_base.py --work runs/base --ship     # ... and ship it: the package's base and docs/base_training.md
python scripts/train_base.py --evaluate                  # the table of the shipped base
python scripts/train_base.py --experiment                # and after one round of verified rejection sampling
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from burnish.microworld import FAMILIES, prompts
from burnish.microworld.pretraining import (
    POOL,
    PretrainSettings,
    load_tokenizer,
    pretrain,
    rejection_round,
    score,
    table,
)

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "src/burnish/microworld/base"
LOG = ROOT / "docs/base_training.md"
EXPERIMENT_PROMPTS = 1500
HELDOUT_SEED, TRAIN_SEED = 1, 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/base"), help="folder of the training")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; part of the result's identity")
    parser.add_argument("--ship", action="store_true", help="put the trained base and its log into the repository")
    parser.add_argument("--evaluate", action="store_true", help="measure a base instead of training one")
    parser.add_argument("--experiment", action="store_true", help="one round of verified rejection sampling")
    parser.add_argument("--model", type=Path, default=BASE, help="the folder to measure")
    parser.add_argument("--per-family", type=int, default=60, help="held-out prompts a family")
    parser.add_argument("--samples", type=int, default=16, help="samples a prompt at temperature 1")
    for field in fields(PretrainSettings):
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default, help="of the training")
    return parser.parse_args()


def measure(args: argparse.Namespace, *, experiment: bool) -> str:
    """The tables of a base as Markdown."""
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(args.model)
    rows = prompts("heldout", args.per_family * len(FAMILIES), seed=HELDOUT_SEED)
    begun = time.monotonic()
    said = [table(score(model, tokenizer, rows, samples=args.samples), samples=args.samples)]
    said.append(f"\n{len(rows)} held-out prompts, plain completion form, {time.monotonic() - begun:.0f} s.")
    if experiment:
        begun = time.monotonic()
        drawn = prompts("train", EXPERIMENT_PROMPTS, seed=TRAIN_SEED)
        model, kept, asked = rejection_round(model, tokenizer, drawn)
        took = time.monotonic() - begun
        said.append("\nAfter one round of verified rejection sampling (8 samples, one right answer a prompt kept, two")
        said.append(f"epochs; {kept} of {asked} prompts had a right answer; {took:.0f} s):\n")
        said.append(table(score(model, tokenizer, rows, samples=0), samples=0))
    return "\n".join(said)


def train(args: argparse.Namespace) -> None:
    settings = replace(PretrainSettings(), **{f.name: getattr(args, f.name) for f in fields(PretrainSettings)})
    args.work.mkdir(parents=True, exist_ok=True)
    with open(args.work / "log.jsonl", "a", encoding="utf-8") as log:

        def say(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()

        pretrain(args.work, settings, say=say)
    if args.ship:
        ship(args, settings)


def ship(args: argparse.Namespace, settings: PretrainSettings) -> None:
    """Replace the package's base and write the log of its training."""
    shutil.rmtree(BASE, ignore_errors=True)
    shutil.copytree(args.work / "model", BASE)
    (BASE / "model.safetensors").chmod(0o644)
    args.model = BASE
    LOG.write_text(log_page(args, settings, measure(args, experiment=True)), encoding="utf-8")
    print(f"shipped to {BASE}; the log is {LOG}")


def log_page(args: argparse.Namespace, settings: PretrainSettings, tables: str) -> str:
    lines: dict[int, dict[str, Any]] = {}
    for line in (args.work / "log.jsonl").read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            lines[row["pool"]] = row  # a pool trained again after a kill counts once
    last = lines[max(lines)]
    shown = [row for pool, row in sorted(lines.items()) if pool % 10 == 9 or row is last]
    curve = "\n".join(f"| {r['pool'] + 1} | {r['tokens']:,} | {r['loss']:.3f} | {r['seconds']} |" for r in shown)
    given = "\n".join(f"| {name} | {value} |" for name, value in asdict(settings).items())
    versions = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    )
    return f"""# How the shipped base was trained

Written by `scripts/train_base.py --ship`. What the text is and why: [microworld.md](microworld.md).

{last["tokens"]:,} tokens of {settings.pools * POOL:,} documents in {last["seconds"] / 60:.0f} minutes on
{args.threads} thread(s) of a {platform.machine()} machine that other work used too; {versions},
Python {platform.python_version()}.

| setting | value |
|---|---|
{given}

## What it can do

{tables}

## The log

Loss: the weighted mean over a pool of {POOL} documents, in nats a token; questions weigh {settings.question_weight:g}.

| pool | tokens | loss | seconds |
|---|---|---|---|
{curve}
"""


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.evaluate or args.experiment:
        print(measure(args, experiment=args.experiment))
    else:
        train(args)


if __name__ == "__main__":
    main()
