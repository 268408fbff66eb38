"""`python -m burnish.train METHOD ...` is `burnish train METHOD ...`, for as many processes as torchrun has started."""

from __future__ import annotations

import os
import sys

from burnish.cli import main


def start() -> None:
    """Train alone, or together with the processes that the environment tells of."""
    sys.argv = ["burnish", "train", *sys.argv[1:]]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from burnish.train.parallel.entry import together

        together(main)
    main()


if __name__ == "__main__":
    start()
