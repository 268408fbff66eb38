"""Answers from an OpenAI-compatible server that holds the policy: vLLM, SGLang, or another that tells ids and log p.

    before a round   the weights are written to a folder, and the server is told to read them (`llm.requests`)
    a round          the prompt goes as token ids to /completions, an answer a request; its ids come back, and stay

The records hold what the server drew and nothing is tokenised again. Whether it really draws from the weights under
training is what `most_gap` of the rounds watches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError, WorkerError
from burnish.llm.local.randomness import key
from burnish.llm.requests import Endpoint, Reply, Request, ask_all, parse_endpoint, reload_weights, reloading_of, run
from burnish.models import load_causal, save_model
from burnish.records import Prompt, Sampling
from burnish.train.on_policy.rollout import Group, Sampler
from burnish.train.on_policy.rollouts.pieces import Piece, Start, response_of
from burnish.train.optim.adapters import add_lora, merge_lora
from burnish.train.session import Session, own_memory

_ABOVE_ZERO = 1e-3  # how far rounding may lift a log-probability above 0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that draws the answers of the rounds.

    Args:
        endpoint: with `logprobs` and `token_ids` asked for.
        reload: what tells the server to read new weights (`llm.requests.reloading_of`); without a call it is not told.
        folder: where the weights are written for it, on a disk that both see; empty is the step's scratch folder.
        seconds: in which a call of `reload` must have been answered.
    """

    endpoint: Endpoint
    reload: tuple[Any, ...] = field(default=(), metadata={"runtime": True})
    folder: str = field(default="", metadata={"runtime": True})
    seconds: float = field(default=600.0, metadata={"runtime": True})

    @classmethod
    def of(cls, spec: str, *, reload: Sequence[str] = ("vllm",), folder: str = "") -> Served:
        """From words such as `http://host:8000/v1#model`.

        Raises:
            SettingsError: the spec is no endpoint, or a word of `reload` says nothing.
        """
        if parse_endpoint(spec) is None:
            raise SettingsError(f"--sampler {spec} is no server; write it as http://host:8000/v1#model")
        endpoint = Endpoint.parse(spec, logprobs=True, token_ids=True)
        return cls(endpoint=endpoint, reload=reloading_of(reload), folder=folder)

    def open(self, session: Session, local: Sampler) -> ServerSampler:
        """The sampler of a training.

        Raises:
            SettingsError: there is no folder to write weights to, or it is the one that training starts from.
        """
        return ServerSampler(self, session, local)


class ServerSampler:
    """Draws at a server, in the place of `rollout.Sampler`."""

    def __init__(self, served: Served, session: Session, local: Sampler) -> None:
        self.served, self.session = served, session
        self.style, self.name, self.room = local.style, local.name, local.room
        self.fits = local.fits
        scratch = session.place.scratch
        self.folder = Path(served.folder) if served.folder else scratch / "sampler" if scratch else None
        self.held: int | None = None  # the step whose weights the server has
        self.looked = False
        if served.reload:
            if self.folder is None:
                raise SettingsError("a server's weights need a folder to be written to; give one")
            if self.folder.exists() and self.folder.samefile(session.place.base.path):
                raise SettingsError(
                    f"the sampler's folder {self.folder} is the one that training starts from; give another, for it is "
                    "written over in each round"
                )

    def draw(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, first: int, number: int) -> list[Group]:
        """As `rollout.Sampler.draw`, after `follow`; an answer that did not come is among its group's `lost`.

        Raises:
            WorkerError: the server cannot be asked, or does not tell ids and log-probabilities.
        """
        encoded = [self.style.encode(prompt) for prompt in prompts]
        most = sampling.max_new_tokens
        starts = [
            Start(ids=ids, place=first + i, prompt=prompt.id, index=index, offset=0, most=most)
            for i, (prompt, ids) in enumerate(zip(prompts, encoded, strict=True))
            for index in range(n)
        ]
        pieces = self.pieces(starts, sampling)
        groups = []
        for i, (prompt, ids) in enumerate(zip(prompts, encoded, strict=True)):
            drawn = list(zip(starts, pieces, strict=True))[i * n : (i + 1) * n]
            how = {"sampling": sampling, "number": number}
            came = tuple(response_of(self, prompt, start, piece, **how) for start, piece in drawn if not piece.lost)
            lost = tuple(piece.lost for _, piece in drawn if piece.lost)
            groups.append(Group(prompt=prompt, place=first + i, ids=ids, responses=came, lost=lost))
        return groups

    def pieces(self, starts: Sequence[Start], sampling: Sampling) -> list[Piece]:
        """A piece for each start, all asked at once.

        Raises:
            WorkerError: as `draw`.
        """
        if not self.looked and starts:
            self._look(starts[0], sampling)
            self.looked = True
        asked = [self._request(start, sampling) for start in starts]
        replies = run(self._gather(asked))
        return [self._piece(replies[request.key()], request) for request in asked]

    def follow(self) -> None:
        """Let the server have the weights of this step, unless it has them. Every process takes part.

        Raises:
            WorkerError: the server does not read them.
        """
        if not self.served.reload or self.held == self.session.step:
            return
        together = self.session.ranks
        model = together.plain(self.session.model, self._blank)
        together.first(lambda: self._hand_over(model))
        self.held = self.session.step

    def _hand_over(self, model: Any) -> None:
        assert self.folder is not None
        if self.session.loop.lora_rank:
            model = copy.deepcopy(model)
            merge_lora(model)
        save_model(model, self.folder, tokenizer_from=Path(self.session.place.base.path))
        urls, folder = self.served.endpoint.urls, str(self.folder.resolve())
        reload_weights(urls, self.served.reload, folder, seconds=self.served.seconds)

    def _blank(self) -> Any:
        """A model of the policy's form on the CPU."""
        place, loop = self.session.place, self.session.loop
        model = load_causal(place.base, dtype=place.dtype)
        own_memory(model)
        if loop.lora_rank:
            add_lora(model, rank=loop.lora_rank, alpha=loop.lora_alpha, seed=loop.seed)
        return model

    def _request(self, start: Start, sampling: Sampling) -> Request:
        drawn = Sampling(
            temperature=sampling.temperature, top_p=sampling.top_p, max_new_tokens=start.most, seed=sampling.seed
        )
        # A server takes one seed a request: it is of the answer and of how far it is.
        number = key(sampling.seed, f"{start.name}\x1f{start.offset}", start.index) >> 1
        return Request(
            model=self.served.endpoint.identity, sampling=drawn, ids=start.ids, stop_ids=self.style.stop_ids,
            index=number, operation="rollout",
        )  # fmt: skip

    async def _gather(self, requests: Sequence[Request]) -> dict[str, Reply]:
        return {request.key(): reply async for request, reply in ask_all(requests, self.served.endpoint)}

    def _look(self, start: Start, sampling: Sampling) -> None:
        """Refuse a server that cannot serve, before anything is trained; by one short question."""
        request = self._request(start, sampling)
        (reply,) = run(self._gather([request])).values()
        where = f"{self.served.endpoint.model} at {', '.join(self.served.endpoint.urls)}"
        if reply.failure:
            raise WorkerError(f"{where} does not draw from token ids: {reply.failure}")
        for what, told in (("token ids", reply.token_ids), ("log-probabilities", reply.logprobs)):
            if not told:
                raise WorkerError(
                    f"{where} gives no {what} of what it draws, and training on fresh answers needs them; serve the "
                    "model with vLLM or SGLang, in a version that knows return_token_ids"
                )
        if not reply.usage.estimated and reply.usage.prompt != len(start.ids):
            raise WorkerError(
                f"{where} read {reply.usage.prompt} tokens where {len(start.ids)} were sent; it must take the ids as "
                "they are"
            )

    def _piece(self, reply: Reply, request: Request) -> Piece:
        ids, logprobs = reply.token_ids, reply.logprobs
        if reply.failure:
            return Piece(lost=f"the server gave no answer: {reply.failure}")
        if len(ids) != len(logprobs) or not 0 < len(ids) <= request.sampling.max_new_tokens:
            return Piece(
                lost=f"the server gave {len(ids)} token ids and {len(logprobs)} log-probabilities, where 1 to "
                f"{request.sampling.max_new_tokens} of each were asked for"
            )
        known = range(self.session.model.config.get_text_config().vocab_size)
        if not all(token in known for token in ids):
            return Piece(lost="the server gave token ids that the model does not have")
        if not all(isinstance(p, (int, float)) and math.isfinite(p) and p <= _ABOVE_ZERO for p in logprobs):
            return Piece(lost="the server gave log-probabilities that are none")
        if reply.finish not in ("stop", "length"):
            return Piece(lost=f"the server ended the answer with {reply.finish!r}")
        stopped = ids[-1] in self.style.stop_ids
        if reply.finish == "stop" and not stopped:
            return Piece(lost="the server ended the answer without a stop token among its ids")
        return Piece(ids=ids, logprobs=tuple(map(float, logprobs)), finish="stop" if stopped else "length")
