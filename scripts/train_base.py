"""Train the microworld's base from scratch, resumably, and measure it.

python scripts/train_base.py --work runs/base            # train; the same command goes on after a kill
python scripts/train_base.py --work runs/base --ship     # copy the result into the package
python scripts/train_base.py --evaluate                  # the table of the shipped base
python scripts/train_base.py --experiment                # one round of verified rejection sampling
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import torch

from burnish.microworld import prompts
from burnish.microworld.pretraining import PretrainSettings, load_tokenizer, pretrain, probe, rejection_round

BASE = Path(__file__).resolve().parent.parent / "src/burnish/microworld/base"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/base"), help="folder of the training")
    parser.add_argument("--threads", type=int, default=2, help="torch threads; part of the result's identity")
    parser.add_argument("--ship", action="store_true", help="copy the trained base into the package")
    parser.add_argument("--evaluate", action="store_true", help="measure a base instead of training one")
    parser.add_argument("--experiment", action="store_true", help="one round of verified rejection sampling")
    parser.add_argument("--model", type=Path, default=BASE, help="the folder to measure")
    parser.add_argument("--per-family", type=int, default=60, help="held-out prompts a family")
    parser.add_argument("--samples", type=int, default=16, help="samples a prompt at temperature 1")
    for field in fields(PretrainSettings):
        parser.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), default=field.default)
    return parser.parse_args()


def measure(args: argparse.Namespace) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(args.model)
    rows = prompts("heldout", args.per_family * 10, seed=1)
    begun = time.monotonic()
    print(probe.table(probe.score(model, tokenizer, rows, samples=args.samples), samples=args.samples))
    print(f"({time.monotonic() - begun:.0f} s)")
    if args.experiment:
        begun = time.monotonic()
        model, kept, drawn = rejection_round(model, tokenizer, prompts("train", 1500, seed=2))
        print(f"\nAfter one round of verified rejection sampling ({kept} of {drawn} prompts had a right answer):\n")
        print(probe.table(probe.score(model, tokenizer, rows, samples=0), samples=0))
        print(f"({time.monotonic() - begun:.0f} s)")


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.evaluate or args.experiment:
        return measure(args)
    settings = replace(PretrainSettings(), **{f.name: getattr(args, f.name) for f in fields(PretrainSettings)})
    log = open(args.work / "log.jsonl", "a") if args.work.exists() else None  # noqa: SIM115
    if log is None:
        args.work.mkdir(parents=True)
        log = open(args.work / "log.jsonl", "a")  # noqa: SIM115

    def say(line: str) -> None:
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    model = pretrain(args.work, settings, say=say)
    model.save_pretrained(args.work / "model", safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.work / name, args.work / "model" / name)
    if args.ship:
        shutil.rmtree(BASE, ignore_errors=True)
        shutil.copytree(args.work / "model", BASE)
    return None


if __name__ == "__main__":
    sys.exit(main())
