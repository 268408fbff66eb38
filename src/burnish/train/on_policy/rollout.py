"""Fresh answers from the model that is being trained: K to each prompt, in this process, with the ids that were drawn.

A group depends on the weights, the prompt, and numbers keyed by (seed, place, prompt id, sample index), where `place`
counts the prompts that were asked since the start. So a round that was killed gives the same answers again, and a
prompt that comes again, within a round too, gets others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from burnish.chat import Chat
from burnish.llm.local.batches import plan, size_of
from burnish.llm.local.decode import Decoder, open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits
from burnish.llm.local.styles import ChatStyle
from burnish.models.attention import NAME
from burnish.records import Prompt, Response, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A prompt with the answers that were drawn to it together.

    Args:
        place: number of the prompt among all that were asked since the start.
        ids: the prompt as tokens.
        responses: with token ids and log-probabilities, nats, under the unscaled model that drew them.
        drawn: which ids of each answer the model drew; () says all. A response's log-probabilities are of those alone:
            what a tool put out stands between them, and is read and not trained.
        lost: why an answer that was asked for is not there, one each.
    """

    prompt: Prompt
    place: int
    ids: tuple[int, ...]
    responses: tuple[Response, ...]
    drawn: tuple[tuple[bool, ...], ...] = ()
    lost: tuple[str, ...] = ()

    def before(self, number: int) -> np.ndarray:
        """[ids of an answer, and 1] how many drawn ids stand before each, and how many there are."""
        marks = self.drawn[number] if self.drawn else (True,) * len(self.responses[number].token_ids)
        return np.cumsum((False, *marks))


class Sampler:
    """Draws from a model that training changes in place; the weights are never copied."""

    def __init__(self, model: Any, chat: Chat, *, name: str) -> None:
        """Args:
        model: a causal language model, prepared for training; its attention is handed back as it was.
        name: what `Response.model` begins with; the round is added.
        """
        self.model, self.style, self.name = model, ChatStyle(chat), name
        self.decoder: Decoder | None = None
        text = model.config.get_text_config()
        self.size = size_of(text.to_dict(), torch.finfo(model.dtype).bits // 8)
        self.room = getattr(text, "max_position_embeddings", None) or (1 << 62)

    def fits(self, prompt: Prompt, new_tokens: int, *, most: int | None = None) -> str:
        """Empty when the prompt and an answer fit into the context and into `most` tokens, else why they do not.

        Raises:
            ChatError: the chat format cannot carry the prompt.
        """
        length, room = len(self.style.encode(prompt)), min(self.room, most or self.room)
        if not length:
            return "its text has no token"
        told = f"{length} tokens and {new_tokens} new ones, and {room} fit"
        return told if length + new_tokens > room else ""

    def draw(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, first: int, number: int) -> list[Group]:
        """`n` answers to each prompt, in the order of the prompts.

        Args:
            first: place of the first prompt among all that were asked; each place has random numbers of its own.
            number: of the round, as the answers tell it.
        """
        encoded = [self.style.encode(prompt) for prompt in prompts]
        rows: list[dict[int, tuple[list[int], list[float], str]]] = [{} for _ in prompts]
        config = self.model.config.get_text_config()
        before = config._attn_implementation
        try:
            if self.decoder is None:
                if before == NAME:  # what the decoder goes back to must serve outside of a pack
                    self.model.set_attn_implementation("eager")
                self.decoder = open_decoder(self.model)
            limits = Limits(
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                stop_ids=self.style.stop_ids,
            )
            for batch in plan([len(ids) for ids in encoded], n, sampling.max_new_tokens, self.size):
                names = [f"{first + i}\x1f{prompts[i].id}" for i in batch.prompts]
                keys = [key(sampling.seed, name, batch.first + s) for name in names for s in range(batch.count)]
                numbers = uniforms(keys, sampling.max_new_tokens)
                drawn = self.decoder.generate([encoded[i] for i in batch.prompts], batch.count, numbers, limits)
                for row in range(batch.rows):
                    place, sample = divmod(row, batch.count)
                    found = (drawn.token_ids[row], drawn.logprobs[row], drawn.finish[row])
                    rows[batch.prompts[place]][batch.first + sample] = found
        finally:
            self.model.set_attn_implementation(before)
        return [
            Group(
                prompt=prompt,
                place=first + place,
                ids=tuple(ids),
                responses=tuple(self._row(prompt, rows[place][i], i, sampling, number) for i in range(n)),
            )
            for place, (prompt, ids) in enumerate(zip(prompts, encoded, strict=True))
        ]

    def _row(
        self, prompt: Prompt, row: tuple[list[int], list[float], str], index: int, sampling: Sampling, number: int
    ) -> Response:
        ids, logprobs, finish = row
        return Response(
            prompt=prompt.id,
            messages=self.style.messages(ids),
            token_ids=tuple(ids),
            logprobs=tuple(logprobs),
            model=f"{self.name}@{number}",
            sampling=sampling,
            index=index,
            finish=finish,
            parents=(prompt.id,),
        )
