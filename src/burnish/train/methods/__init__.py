"""The methods of `burnish train`: their settings with sources, and how each is built."""

from burnish.train.methods.registry import METHODS, planned, train_iterations, train_rows

__all__ = ["METHODS", "planned", "train_iterations", "train_rows"]
