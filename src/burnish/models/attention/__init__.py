"""Attention of a pack: which calls compute it (`plan`), the calls (`packed`), one call for all of it (`varlen`).

`split` is the seam at which several processes share a pack.
"""

from burnish.models.attention.packed import NAME, Unserved, packing, register
from burnish.models.attention.split import Split, set_split, splitting

__all__ = ["NAME", "Split", "Unserved", "packing", "register", "set_split", "splitting"]
