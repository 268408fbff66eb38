"""What is asked of a model elsewhere, and what comes back. See docs/asking.md.

request    `Request`, `Reply`, `Usage`, and who answers: `Asker`
asking     `ask_all`: many at once, each pair as it completes
kept       an asker over a store, for work that asks item by item
endpoint   `Endpoint`: an OpenAI-compatible server, or replicas of one
store      replies on disk, one file for each step
books      what the stores say: tokens, money, latency
budget     limits on tokens and money, estimates
prices     what tokens cost
"""

from burnish.llm.requests.asking import ask_all, run
from burnish.llm.requests.books import books
from burnish.llm.requests.budget import Budget, Estimate, Purse, estimate
from burnish.llm.requests.endpoint import (
    Endpoint,
    Limits,
    Pace,
    Pacing,
    parse_endpoint,
    reload_weights,
    reloading_of,
)
from burnish.llm.requests.prices import price_of
from burnish.llm.requests.request import Asker, Reply, Request, Usage
from burnish.llm.requests.store import Store

__all__ = [
    "Asker",
    "Budget",
    "Endpoint",
    "Estimate",
    "Limits",
    "Pace",
    "Pacing",
    "Purse",
    "Reply",
    "Request",
    "Store",
    "Usage",
    "ask_all",
    "books",
    "estimate",
    "parse_endpoint",
    "price_of",
    "reload_weights",
    "reloading_of",
    "run",
]
