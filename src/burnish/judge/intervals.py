"""Intervals for shares: what stands beside every count of verdicts."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float | None, float | None]:
    """Wilson score interval of a share (Wilson 1927; Brown, Cai, DasGupta 2001, section 3.1.1); (None, None) if n = 0.

        centre = (p + z^2 / 2n) / (1 + z^2 / n),   half = z / (1 + z^2 / n) * sqrt(p (1 - p) / n + z^2 / 4n^2)

    Args:
        successes: 0 to n; a fraction is allowed (a mean of several verdicts per row).
        n: rows; a fraction is allowed (the effective number of weighted rows).
    """
    if n == 0:
        return None, None
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    share, square = successes / n, z * z
    scale = 1 + square / n
    centre = (share + square / (2 * n)) / scale
    half = z / scale * sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)
