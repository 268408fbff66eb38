"""Random numbers that depend on what is drawn, not on when: keyed by seed, prompt, sample and token position.

One key per answer (BLAKE2b of seed, prompt id and sample index) starts a SplitMix64 stream; the number for token t is
the t-th of that stream, which needs no state, so an answer draws the same numbers in any batch, order or process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, Figure 17 (with Stafford's mix 13).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def key(seed: int, prompt: str, sample: int) -> int:
    """The 64-bit key of one answer's stream."""
    text = f"{seed}\x1f{prompt}\x1f{sample}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"burnish.draw").digest(), "little")


def uniforms(keys: Sequence[int], count: int, *, start: int = 0) -> np.ndarray:
    """Float64 [len(keys), count] in [0, 1): row r holds numbers start .. start + count - 1 of the stream keys[r]."""
    with np.errstate(over="ignore"):
        steps = np.arange(start + 1, start + count + 1, dtype=np.uint64) * _GOLDEN
        z = np.array(keys, dtype=np.uint64)[:, None] + steps[None, :]
        z = (z ^ (z >> np.uint64(30))) * _MIX[0]
        z = (z ^ (z >> np.uint64(27))) * _MIX[1]
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
