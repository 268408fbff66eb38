"""The oracle behind a real socket, and the fault injector of the tests: `burnish serve-oracle`.

Comes in: requests as OpenAI's clients send them. Goes out: what the oracle knows, late, broken or not at all where
that is asked for. See docs/serve_oracle.md.

    reading     a task of the microworld from its words
    operations  a judging operation from its words
    answers     what is said
    wire        OpenAI's shapes
    faults      what goes wrong, drawn by seed and counted
    server      the routes
    running     in the foreground, or in a thread
"""

from burnish.microworld.serving.answers import UNKNOWN, OracleAnswers
from burnish.microworld.serving.faults import KINDS, SHAPES, Faults, Latency
from burnish.microworld.serving.reading import read_prompt
from burnish.microworld.serving.running import oracle_server, serve_forever
from burnish.microworld.serving.server import OracleServer

__all__ = [
    "KINDS",
    "SHAPES",
    "UNKNOWN",
    "Faults",
    "Latency",
    "OracleAnswers",
    "OracleServer",
    "oracle_server",
    "read_prompt",
    "serve_forever",
]
