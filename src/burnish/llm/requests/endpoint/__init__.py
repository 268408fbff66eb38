"""An OpenAI-compatible server, or several with one model.

client      `Endpoint`: its settings, and what it is as an `Asker` and as a `protocols.Client`
line        its live side in an event loop: tries, replicas, faults that pass
opening     the first look: is it there, does it have the model
transport   HTTP: connections, keys, timeouts, bounded bodies
wire        OpenAI's JSON
faults      what a status means
replicas    which server next, and which is dead
pace        how much at once
reloading   telling it to read weights that were written for it
"""

from burnish.llm.requests.endpoint.client import Endpoint, parse_endpoint
from burnish.llm.requests.endpoint.pace import Pace, Pacing
from burnish.llm.requests.endpoint.reloading import PRESETS, Call, reload_weights, reloading_of
from burnish.llm.requests.endpoint.transport import Limits

__all__ = [
    "PRESETS",
    "Call",
    "Endpoint",
    "Limits",
    "Pace",
    "Pacing",
    "parse_endpoint",
    "reload_weights",
    "reloading_of",
]
