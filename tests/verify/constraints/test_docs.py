"""The table of docs/verify_constraints.md is the library's own."""

from __future__ import annotations

from pathlib import Path

from burnish.verify.constraints import CONSTRAINTS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "verify_constraints.md"


def rows() -> list[str]:
    """One line of the table for each kind: id, arguments, rule, source."""
    lines = []
    for kind in CONSTRAINTS.values():
        arguments = ", ".join(f"`{name}`{'?' if one.optional else ''}" for name, one in kind.kwargs.items()) or "none"
        rule = kind.rule.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")
        lines.append(f"| `{kind.id}` | {arguments} | {rule} | {kind.source} |")
    return lines


def test_the_page_lists_every_kind():
    page = PAGE.read_text(encoding="utf-8").partition("## Every kind")[2].splitlines()
    assert [line for line in page if line.startswith("| `")] == rows(), "\n".join(rows())
