"""What tokens cost: a table as a data file, `prices.json` here or the file that `BURNISH_PRICES` names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from burnish.errors import DataError

_SHIPPED = Path(__file__).with_name("prices.json")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    prompt: float
    cached: float
    completion: float

    def of(self, prompt: int, cached: int, completion: int) -> float:
        """Dollars; `cached` tokens are among those of the prompt."""
        fresh = prompt - cached
        return (fresh * self.prompt + cached * self.cached + completion * self.completion) / 1e6


@cache
def load_prices(path: Path) -> Mapping[str, Price]:
    """The table of a file: the beginning of a model's name -> its price.

    Raises:
        DataError: the file is missing or is no such table.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["prices"]
        return {name.lower(): Price(*map(float, row)) for name, row in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path} is no table of prices ({error}); write {{"prices": {{"model": [prompt, cached, completion]}}}}'
        ) from error


def price_of(model: str) -> Price | None:
    """The price of a model by its name or identity; None when the table does not have it (a model of your own)."""
    table = load_prices(Path(os.environ.get("BURNISH_PRICES") or _SHIPPED))
    full = (model.split(":", 1)[1] if model.startswith("openai") and ":" in model else model).lower()
    for name in (full, full.rsplit("/", 1)[-1]):
        known = [key for key in table if name == key or name.startswith((f"{key}-", f"{key}@"))]
        if known:
            return table[max(known, key=len)]
    return None
