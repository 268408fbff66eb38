"""Attention of a pack: which calls compute it (`plan`), the calls (`packed`), and one call for all of it (`varlen`)."""

from burnish.models.attention.packed import NAME, Unserved, packing, register

__all__ = ["NAME", "Unserved", "packing", "register"]
