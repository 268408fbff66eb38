"""What a comparison of two answers says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["equal", "different", "unparsable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MathResult:
    """Whether an answer equals the gold one.

    Args:
        kind: `unparsable` is neither right nor wrong: nothing here could decide, and `why` says what stood in the way.
        why: which path decided, or why none did.
        given: the answer as it was compared.
        gold: the gold answer that it was compared with (of several, the one that matched, else the first).
    """

    kind: Kind
    why: str
    given: str
    gold: str
