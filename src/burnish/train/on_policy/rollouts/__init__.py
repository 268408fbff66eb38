"""Answers that are not drawn in one go in this process. Comes in: prompts. Goes out: groups, as of `rollout.Sampler`.

pieces   a run of drawn tokens, and the place in an answer that it goes on from
local    pieces from the model in this process
served   pieces from an OpenAI-compatible server, whose weights follow the training
turns    answers with calls of tools: pieces, and between them what the tools put out
tools    which tools there are
"""

from burnish.train.on_policy.rollout import Sampler
from burnish.train.on_policy.rollouts.local import LocalDrawer
from burnish.train.on_policy.rollouts.served import Served, ServerSampler
from burnish.train.on_policy.rollouts.tools import Tools
from burnish.train.on_policy.rollouts.turns import ToolSampler
from burnish.train.session import Session

__all__ = ["LocalDrawer", "Served", "ServerSampler", "ToolSampler", "Tools", "sampler_of"]


def sampler_of(
    session: Session, local: Sampler, served: Served | None, tools: Tools | None
) -> Sampler | ServerSampler | ToolSampler:
    """What draws the answers of a training: this process or a server, with tools or without.

    Raises:
        SettingsError: a tool or a folder that cannot be used.
    """
    plain = served.open(session, local) if served is not None else local
    if tools is None:
        return plain
    return ToolSampler(LocalDrawer(local) if served is None else plain, tools)
