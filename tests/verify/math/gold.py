"""The gold answers of the real data, and worked answers around them."""

from __future__ import annotations

import gzip
import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

from burnish.verify.math.extract import boxed

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("BURNISH_DATA", ROOT.parent / "shared" / "data"))
SETS = ("college_math", "olympiadbench", "gaokao_math_cloze", "minerva_math", "asdiv", "cmath", "svamp")
CHOICES = ("aqua", "gaokao_math_qa", "sat_math")


@cache
def rows(name: str) -> tuple[dict, ...]:
    """The rows of `gsm8k/train`, `maths/aqua`, ...; skips where the data is absent."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds {name}.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def golds(name: str) -> tuple[str, ...]:
    """One gold answer a row, as the data writes it."""
    if name == "gsm8k":
        return tuple(row["answer"].rpartition("####")[2].strip() for row in rows("gsm8k/train"))
    if name == "gsm8k_test":
        return tuple(row["answer"].rpartition("####")[2].strip() for row in rows("gsm8k/test"))
    found = rows(f"maths/{name}")
    if name == "olympiadbench":
        return tuple(row["final_answer"][0] for row in found)
    if name == "minerva_math":
        return tuple(boxed(row["solution"]) or "" for row in found)
    column = {"svamp": "Answer"}.get(name, "answer")
    return tuple(str(row[column]) for row in found)


def options(name: str, row: dict) -> tuple[dict[str, str], str]:
    """The options by letter and the right letters of a multiple-choice row."""
    if name == "aqua":
        return {text[0]: text[2:].strip() for text in row["options"]}, row["correct"]
    if name == "gaokao_math_qa":
        return dict(row["options"]), row["label"].replace(" ", "")
    parts = re.split(r"(?:^|\s)([A-D])\)\s", " " + row["options"])
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]))), row["Answer"]


WORKED = {
    "prose": "First we find 2 + 3 = 5.\nThen 5 * 7 = 35, which we use below.\nThe answer is {}.",
    "markdown": "Step 1: let $x = 1$.\n\nStep 2: so $x + 1 = 2$.\n\n**Final answer:** {}",
    "chinese": "由题意得 $a=1$，$b=2$。\n所以答案是{}。",
}
BOXED = "We compute $2 + 2 = 4$ and so on, and get\n\\[\\boxed{{{}}}\\]"
