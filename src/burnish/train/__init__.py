"""Loops over models. `supervised` trains on fixed rows: raw text, SFT, reward models, the DPO family, RPO, KTO.

Comes in: weights, rows, settings. Goes out: weights in Hugging Face layout with `metrics.jsonl`, the rows that were
dropped and why, numbers of the run. Called by recipes through `run.step`. A method is a loss plus a
collation, never a trainer.
"""

from burnish.train.batch import Example, encode_all, optimiser_batches, packs, take_rows
from burnish.train.documents import check_shares
from burnish.train.methods import METHODS, planned, train_iterations, train_rows
from burnish.train.opening import teach_format, tuning
from burnish.train.optim import Optimiser, learning_rate
from burnish.train.prepare_chat import check_stop_trained, give_chat, stop_probability
from burnish.train.reward_models import train_rewarders
from burnish.train.session import Loop, Session, open_session
from burnish.train.supervised import fit, train_dpo, train_reward, train_sft
from burnish.train.tracking import tracker

__all__ = [
    "METHODS",
    "Example",
    "Loop",
    "Optimiser",
    "Session",
    "check_shares",
    "check_stop_trained",
    "encode_all",
    "fit",
    "give_chat",
    "learning_rate",
    "open_session",
    "optimiser_batches",
    "packs",
    "planned",
    "stop_probability",
    "take_rows",
    "teach_format",
    "tracker",
    "train_dpo",
    "train_iterations",
    "train_reward",
    "train_rewarders",
    "train_rows",
    "train_sft",
    "tuning",
]
