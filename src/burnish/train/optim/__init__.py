"""What acts on parameters: AdamW with float32 masters, schedules, adapters, noise on the embeddings."""

from burnish.train.optim.adamw import Optimiser, check_schedule, learning_rate

__all__ = ["Optimiser", "check_schedule", "learning_rate"]
