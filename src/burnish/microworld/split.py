"""Which tasks are for training and which are held out: decided by the canonical key alone.

The hash is BLAKE2b, so the split is the same on every machine and does not depend on PYTHONHASHSEED. Language,
template, style and number of records are not part of the key: a task and its translation fall on the same side.
"""

from __future__ import annotations

import hashlib

SPLITS = ("train", "heldout")
HELDOUT_PERCENT = 10  # ASSUMED: >= 5,000 canonical tasks a family leave >= 500 for evaluation


def split_of(key: str) -> str:
    """`heldout` for a tenth of all canonical keys, `train` for the rest."""
    number = int.from_bytes(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest(), "big")
    return "heldout" if number % 100 < HELDOUT_PERCENT else "train"
