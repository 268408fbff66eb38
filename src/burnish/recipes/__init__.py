"""One readable file per lab. A diff of two recipe files is the difference between two labs.

A recipe module offers `Settings`, `scale(name) -> Settings`, `Workers`, `recipe(run, settings, workers) -> Weights`,
`plan(settings, prompt_tokens, answer_tokens) -> list of planned steps`, `asks(settings)`, the number of prompts it
draws, and, where it takes rewards from outside, their names in `REWARDS`. It is imported on use. Who calls: the command
line, tests and benchmarks.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from burnish.errors import SettingsError
from burnish.runs import nearest

RECIPES = {
    "llama3": "The Llama 3 Herd of Models (arXiv 2407.21783), section 4",
    "deepseek_v2": "DeepSeek-V2 (arXiv 2405.04434), section 4",
}
STAGED = ("deepseek_v2",)  # what these call a stage, others call a round
SCALES = ("smoke", "laptop", "paper")


def load_recipe(name: str) -> ModuleType:
    """The module of a recipe.

    Raises:
        SettingsError: there is no such recipe; the nearest is named.
    """
    if name not in RECIPES:
        raise SettingsError(f"there is no recipe {name!r}; {nearest(name, RECIPES)}")
    return importlib.import_module(f"burnish.recipes.{name}")


__all__ = ["RECIPES", "SCALES", "STAGED", "load_recipe"]
