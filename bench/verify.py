"""Verification without a model, side by side: sandboxed checks a second, and math checks a second."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

PARTS = {"sandbox": ("verify_sandbox", "measure_sandbox"), "math": ("verify_math", "measure_math")}


def measured(part: str) -> list[dict]:
    """The rows of a part; none where its file is not there."""
    module, function = PARTS[part]
    if not (Path(__file__).parent / f"{module}.py").exists():
        return []
    return getattr(importlib.import_module(module), function)()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=PARTS, help="one part")
    arguments = parser.parse_args()
    rows = [row for part in PARTS if arguments.only in (None, part) for row in measured(part)]
    if arguments.json:
        print(json.dumps({"bench": "verify", "rows": rows}))
    else:
        for row in rows:
            bar = "" if row["bar"] is None else f"bar {row['bar']}  {'holds' if row['holds'] else 'FAILS'}"
            print(f"{row['name']:<40} {row['value']:>8}  {bar:<16}  {row['detail']}")
    return 0 if all(row["holds"] is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
