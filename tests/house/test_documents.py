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


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: p.name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """The blocks of a page run one after the other in one empty folder, with a tiny model in `model/`."""
    from burnish.models import tiny_model_folder

    tiny_model_folder(tmp_path / "model")
    code = "\n\n".join(BLOCK.findall(page.read_text()))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"{page.name}:\n{done.stderr[-1500:]}"


def test_commands_in_the_readme_exist() -> None:
    told = (ROOT / "README.md").read_text()
    listed = subprocess.run([sys.executable, "-m", "burnish", "--help"], capture_output=True, text=True).stdout
    for verb in set(re.findall(r"^burnish (\w+)", told, re.M)):
        assert re.search(rf"^\s+{verb}\b", listed, re.M), verb
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (\w+)", told, re.M)) <= targets
    for path in re.findall(r"\]\((docs/[\w.]+|[A-Z]+\.md)\)", told):
        assert (ROOT / path).exists(), path
