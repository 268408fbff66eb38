"""Pieces from the model in this process: each start by itself, with the random numbers of its answer from there on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from burnish.llm.local.batches import plan
from burnish.llm.local.decode import Limits
from burnish.llm.local.randomness import key, uniforms
from burnish.records import Prompt, Sampling
from burnish.train.on_policy.rollout import Group, Sampler
from burnish.train.on_policy.rollouts.pieces import Piece, Start


class LocalDrawer:
    """`rollout.Sampler`, which also goes on with answers."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.style, self.name, self.room = sampler.style, sampler.name, sampler.room
        self.fits = sampler.fits

    def draw(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, first: int, number: int) -> list[Group]:
        return self.sampler.draw(prompts, n=n, sampling=sampling, first=first, number=number)

    def pieces(self, starts: Sequence[Start], sampling: Sampling) -> list[Piece]:
        """A piece for each start; a decoder has been opened by a first `draw`."""
        sampler, found = self.sampler, {}
        assert sampler.decoder is not None
        config = sampler.model.config.get_text_config()
        before = config._attn_implementation
        most = max(start.most for start in starts)
        limits = Limits(
            max_new_tokens=most,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop_ids=self.style.stop_ids,
        )
        try:
            for batch in plan([len(start.ids) for start in starts], 1, most, sampler.size):
                mine = [starts[place] for place in batch.prompts]
                streams = [uniforms([key(sampling.seed, s.name, s.index)], most, start=s.offset) for s in mine]
                drawn = sampler.decoder.generate([s.ids for s in mine], 1, np.concatenate(streams), limits)
                rows = zip(drawn.token_ids, drawn.logprobs, drawn.finish, strict=True)
                for place, start, (ids, logprobs, finish) in zip(batch.prompts, mine, rows, strict=True):
                    whole = len(ids) <= start.most  # rows of a batch have one limit, and starts their own
                    found[place] = Piece(
                        ids=tuple(ids[: start.most]),
                        logprobs=tuple(logprobs[: start.most]),
                        finish=finish if whole else "length",
                    )
        finally:
            sampler.model.set_attn_implementation(before)
        return [found[place] for place in range(len(starts))]
