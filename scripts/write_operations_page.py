"""Write docs/operations.md from the declarations of all operations: python scripts/write_operations_page.py"""

from __future__ import annotations

from pathlib import Path

from burnish.judge.operations import OPERATIONS
from burnish.llm.operations import page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"

if __name__ == "__main__":
    PAGE.write_text(page(OPERATIONS), encoding="utf-8")
