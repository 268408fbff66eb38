"""One readable file per lab. A diff of two recipe files is the difference between two labs.

A recipe module offers `Settings`, `scale(name) -> Settings`, `recipe(run, settings, **workers) -> Weights` and
`plan(settings) -> list of planned steps`. It is imported on use; its workers come in as arguments. Who calls: the
command line, tests and benchmarks.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from burnish.errors import SettingsError
from burnish.runs import nearest

RECIPES = {"llama3": "The Llama 3 Herd of Models (arXiv 2407.21783), section 4"}
SCALES = ("smoke", "laptop", "paper")


def load_recipe(name: str) -> ModuleType:
    """The module of a recipe.

    Raises:
        SettingsError: there is no such recipe; the nearest is named.
    """
    if name not in RECIPES:
        raise SettingsError(f"there is no recipe {name!r}; {nearest(name, RECIPES)}")
    return importlib.import_module(f"burnish.recipes.{name}")


__all__ = ["RECIPES", "SCALES", "load_recipe"]
