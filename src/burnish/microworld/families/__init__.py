"""The abilities of the microworld. In: a seeded generator and dials. Out: tasks, and a verdict for any text.

Called by `microworld.prompts` and `microworld.corpus`. To add a family: write `draw` and `check`, list it below.
"""

from __future__ import annotations

from burnish.microworld.families.facts import FACTS
from burnish.microworld.families.instructions import CONSTRAINTS_FAMILY, STEERING
from burnish.microworld.families.numbers import ARITHMETIC, MULTILINGUAL
from burnish.microworld.families.programs import CODE
from burnish.microworld.families.puzzles import ORDERING
from burnish.microworld.families.records import RECORDS
from burnish.microworld.families.safety import SAFETY
from burnish.microworld.families.tools import TOOLS_FAMILY
from burnish.microworld.tasks import Family

REGISTRY: dict[str, Family] = {
    family.name: family
    for family in (
        ARITHMETIC, CODE, CONSTRAINTS_FAMILY, MULTILINGUAL, ORDERING, RECORDS, TOOLS_FAMILY, FACTS, STEERING, SAFETY,
    )
}  # fmt: skip
FAMILIES: tuple[str, ...] = tuple(REGISTRY)

__all__ = ["FAMILIES", "REGISTRY"]
