"""Runs foreign code, and is the only place of Burnish that does. A program and limits come in; a `Ran` goes out."""

from burnish.verify.sandbox.bubblewrap import Bubblewrap

__all__ = ["Bubblewrap"]
