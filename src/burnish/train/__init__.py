"""Loops over models. `supervised` trains on fixed rows: SFT, reward modelling, DPO.

Comes in: weights, rows, settings. Goes out: weights in Hugging Face layout with `metrics.jsonl`, the rows that were
dropped and why, numbers of the run. Called by recipes through `run.step`. A method is a loss plus a
collation, never a trainer.
"""

from burnish.train.batch import Example, encode_all, optimiser_batches, packs
from burnish.train.optim import Optimiser, learning_rate
from burnish.train.prepare_chat import check_stop_trained, give_chat, stop_probability
from burnish.train.supervised import Loop, fit, train_dpo, train_reward, train_sft

__all__ = [
    "Example",
    "Loop",
    "Optimiser",
    "check_stop_trained",
    "encode_all",
    "fit",
    "give_chat",
    "learning_rate",
    "optimiser_batches",
    "packs",
    "stop_probability",
    "train_dpo",
    "train_reward",
    "train_sft",
]
