"""Rewards of reasoning steps: an answer's lines, the tokens that they end on, and a reward model that scores them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from burnish.chat import Chat, load_chat
from burnish.errors import ChatError, ModelError
from burnish.models import Row, build_pack, load_reward, token_scores
from burnish.protocols import Work
from burnish.records import Prompt, Response, Weights
from burnish.runs import compute
from burnish.train.on_policy.rewards import NO_STEP, Reward, line_ends, of_steps


def token_ends(chat: Chat, ids: Sequence[int], text: str, ends: Sequence[int]) -> list[int] | None:
    """The drawn tokens that the steps end on: of each the first with which all of its text is there.

    Args:
        ids: as drawn.
        text: what the answer says.
        ends: characters of `text`, ascending.

    Returns:
        Indices into `ids`, or None where the tokens do not spell the text.
    """
    whole = chat.text(ids)
    shift = whole.rfind(text)
    if shift < 0:
        return None
    found, low = [], 0
    for end in ends:
        wanted, high = whole[: shift + end], len(ids)
        while low < high:
            middle = (low + high) // 2
            if len(chat.text(ids[:middle])) >= shift + end:
                high = middle
            else:
                low = middle + 1
        # a prefix may end within a character, which then reads as another one of the same length
        while low < len(ids) and not chat.text(ids[:low]).startswith(wanted):
            low += 1
        found.append(max(0, low - 1))
    return found


def scores_steps(folder: str | Path) -> bool:
    """Whether a folder holds a reward model that scores steps, by its config."""
    try:
        told = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # loading it says what is wrong
    return told.get("score_reads") == "step"


@dataclass(frozen=True, kw_only=True)
class StepModelReward:
    """What a model of `burnish train reward-steps` gives each line of an answer: the probability that it is right.

    Args:
        weights: of the reward model, which scores steps.
    """

    weights: Weights
    name: str = "steps"

    @cached_property
    def chat(self) -> Chat:
        return load_chat(self.weights.path)

    @cached_property
    def model(self) -> Any:
        """The model in memory.

        Raises:
            ModelError: it scores whole answers.
        """
        model = load_reward(self.weights, dtype=compute().dtype, device=compute().device)
        if getattr(model.config, "score_reads", "response") != "step":
            raise ModelError(f"{self.weights.path} scores whole answers; steps need a model of train reward-steps")
        return model

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        return [self._one(prompts[response.prompt], response) for response in responses]

    def _one(self, prompt: Prompt, response: Response) -> Reward:
        ends = line_ends(response.text)
        if not ends:
            return Reward(value=None, why=NO_STEP)
        try:
            encoded = self.chat.encode(prompt.messages, response.messages)
            places = self.chat.step_ends(prompt.messages, response.messages, ends)
        except ChatError as error:
            return Reward(value=None, why=f"the reward model cannot read it: {error}")
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if room is not None and len(encoded.ids) > room:
            return Reward(value=None, why=f"{len(encoded.ids)} tokens, and the reward model reads {room}")
        start = encoded.prompt_length
        pack = build_pack([Row(prompt=tuple(encoded.ids[:start]), responses=(tuple(encoded.ids[start:]),))])
        with torch.no_grad():
            scores = token_scores(self.model, pack, select=torch.tensor([place - start for place in places]))
        found = scores.flatten().double().sigmoid().tolist()
        return of_steps([value if math.isfinite(value) else None for value in found], response.text)
