"""What is asked of a model elsewhere, and what comes back."""

from burnish.llm.requests.request import Asker, Reply, Request, Usage

__all__ = ["Asker", "Reply", "Request", "Usage"]
