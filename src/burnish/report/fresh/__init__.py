"""What a training on fresh answers left to be read. Comes in: a run's evidence. Goes out: entries of the browser."""

from burnish.report.fresh.entries import drawn, fresh_entries, fresh_steps

__all__ = ["drawn", "fresh_entries", "fresh_steps"]
