"""The methods of `burnish train`: their settings with sources, and how each is built."""

from burnish.train.methods.registry import METHODS, train_iterations, train_rows

__all__ = ["METHODS", "train_iterations", "train_rows"]
