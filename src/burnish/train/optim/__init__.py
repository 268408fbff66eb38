"""What acts on parameters: AdamW with float32 masters, schedules, online merging, adapters, noise on the embeddings."""

from burnish.train.optim.adamw import Optimiser, check_schedule, learning_rate
from burnish.train.optim.online_merging import OnlineMerging

__all__ = ["OnlineMerging", "Optimiser", "check_schedule", "learning_rate"]
