"""What a batch consists of, drawn from a seed so that a resumed run draws the same."""

from __future__ import annotations

import hashlib

from burnish.errors import DataError, SettingsError

REPLAY = 0.1  # DeepSeekMath §4.1.4: historical rows in the batches of a refreshed reward model (spec D5)


def _share(*parts: object) -> float:
    """A number in [0, 1) with 53 random bits, from the parts alone."""
    text = "\x1f".join(str(part) for part in parts).encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"burnish.turn").digest(), "big")
    return (number >> 11) / 2**53


def on_policy_turn(seed: int, batch: int, *, share: float) -> bool:
    """Whether a batch is sampled from the student (True) or taken from the data (False), with probability lambda.

    GKD (arXiv:2306.13649, Algorithm 1; spec yi_glm_gemma_deepseek_baichuan.md M3). At share 1 no batch reads data, at
    share 0 none is sampled. ASSUMED: 0.5 (public libraries'; the paper's gains rise above 0.25).

    Args:
        seed: of the run.
        batch: number of the optimiser batch.
        share: lambda, 0 .. 1.

    Raises:
        SettingsError: the share is out of range.
    """
    if not 0 <= share <= 1:
        raise SettingsError(f"the on-policy share is {share}; give 0 (data only) to 1 (own samples only)")
    return _share("on-policy", seed, batch) < share


def replay_rows(fresh: int, history: int, *, seed: int, round_number: int, share: float = REPLAY) -> list[int]:
    """Which rows of the history join the fresh ones, so that they are `share` of both together.

    Iterative GRPO (DeepSeekMath §4.1.4; spec D5): each round the reward model is trained further on new samples and
    10 % of old ones, and the reference becomes the policy. The history only grows; the draw is without replacement.

    Args:
        fresh, history: how many rows there are.
        share: 0 to below 1.

    Returns:
        Numbers of rows of the history, rising: share / (1 - share) times `fresh`, rounded.

    Raises:
        SettingsError: the share is out of range.
        DataError: the history is too short.
    """
    if not 0 <= share < 1:
        raise SettingsError(f"the replay share is {share}; give 0 to below 1")
    wanted = round(share / (1 - share) * fresh)
    if wanted > history:
        raise DataError(
            f"a replay share of {share} beside {fresh} fresh rows needs {wanted} old ones; there are {history}"
        )
    order = sorted(range(history), key=lambda row: (_share("replay", seed, round_number, row), row))
    return sorted(order[:wanted])
