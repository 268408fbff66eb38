"""How the base was made and is measured: tokenizer, training loop, probe, and the rejection-sampling experiment.

In: a seed and settings. Out: a folder in Hugging Face layout, and tables of what the model in it can do. Called by
`scripts/train_base.py` and tests only.
"""

from burnish.microworld.pretraining.experiment import fine_tune, rejection_round
from burnish.microworld.pretraining.loop import POOL, PretrainSettings, pretrain
from burnish.microworld.pretraining.probe import complete, right, score, table
from burnish.microworld.pretraining.vocabulary import learn_tokenizer, load_tokenizer, save_tokenizer

__all__ = [
    "POOL",
    "PretrainSettings",
    "complete",
    "fine_tune",
    "learn_tokenizer",
    "load_tokenizer",
    "pretrain",
    "rejection_round",
    "right",
    "save_tokenizer",
    "score",
    "table",
]
