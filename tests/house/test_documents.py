"""Every Python block of README.md and docs/ runs as it stands; the commands that are shown exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


# Runs each page in a process of its own, forked from one that has imported what all of them import.
DRIVER = """
import os, sys, traceback
from pathlib import Path
import torch, transformers.models.llama.modeling_llama, burnish.train, burnish.llm, burnish.models
for place in map(Path, sys.argv[1:]):
    child = os.fork()
    if child == 0:
        os.chdir(place)
        code, sys.argv[1:] = 0, []
        try:
            exec(compile((place / "page.py").read_text(), place.name, "exec"), {"__name__": "__main__"})
        except BaseException:
            code = 1
            (place / "wrong").write_text(traceback.format_exc())
        sys.stdout.flush()
        os._exit(code)
    (place / "code").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Page -> what went wrong; the blocks of a page run one after the other, with a tiny model in `model/`."""
    from burnish.models import tiny_model_folder

    places = {page.name: tmp_path_factory.mktemp(page.stem) for page in PAGES if BLOCK.search(page.read_text())}
    for page in PAGES:
        if place := places.get(page.name):
            tiny_model_folder(place / "model")
            (place / "page.py").write_text("\n\n".join(BLOCK.findall(page.read_text())))
    done = subprocess.run([sys.executable, "-c", DRIVER, *map(str, places.values())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    codes = {name: (place / "code").read_text() for name, place in places.items()}
    return {n: "" if c == "0" else (places[n] / "wrong").read_text() for n, c in codes.items()}


@pytest.mark.parametrize("page", [p.name for p in PAGES if BLOCK.search(p.read_text())])
def test_python_blocks_run(ran: dict[str, str], page: str) -> None:
    assert ran[page] == "", ran[page][-1500:]


def test_commands_in_the_readme_exist() -> None:
    told = (ROOT / "README.md").read_text()
    listed = subprocess.run([sys.executable, "-m", "burnish", "--help"], capture_output=True, text=True).stdout
    for verb in set(re.findall(r"^burnish (\w+)", told, re.M)):
        assert re.search(rf"^\s+{verb}\b", listed, re.M), verb
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (\w+)", told, re.M)) <= targets
    for path in re.findall(r"\]\((docs/[\w.]+|[A-Z]+\.md)\)", told):
        assert (ROOT / path).exists(), path
