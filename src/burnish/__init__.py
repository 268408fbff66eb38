"""Burnish post-trains language models: a lab's published recipe, run end to end."""

__version__ = "0.1.0"
