"""A reward model as a judge: one score a response, read where `AutoModelForSequenceClassification` reads it.

    responses -> ids in the model's chat format -> rows of a prompt and its K responses -> packs -> scores

Packs are a pure function of the whole request and are journaled one by one, so that a killed scoring goes on bit for
bit. What has no score (too long, not encodable, not finite) is unscored with its reason, never a number.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from burnish.chat import Chat, load_chat
from burnish.errors import ChatError, DataError, ModelError
from burnish.protocols import Work
from burnish.records import Judgement, Message, Prompt, Response, Weights, content_id, context_length, dropped
from burnish.runs import Outcome, compute, parallel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACK_TOKENS = 8192  # tokens of a pack (prompt counted once for the responses that share it)
SCORING = 1  # raise when the same request may give other scores: it is part of the journal's key
TOO_LONG = "longer than the context"
NOT_ENCODED = "cannot be encoded"
NOT_FINITE = "score is not finite"
_KEPT_MODELS = 2
_models: OrderedDict[tuple[str, str, str], Any] = OrderedDict()

Texts = tuple[tuple[Message, ...], tuple[Message, ...]]  # a context and the response to it
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Scores responses with a reward model folder; `protocols.Judge`.

    Args:
        weights: a reward model with its tokenizer.
        format: a named chat format in place of the tokenizer's own template.
        mix: weights of the heads of an attribute model, in their order: the score is the weighted sum, such as
            `losses.NEMOTRON_WEIGHTS` (HelpSteer2, spec A.2). A model with one head needs none.
    """

    weights: Weights
    format: str | None = None
    mix: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights.kind != "reward":
            raise ModelError(f"{self.weights.path} is a {self.weights.kind} model without a reward head")

    @property
    def name(self) -> str:
        """What `Judgement.judge` holds."""
        mixed = "" if self.mix is None else ":" + ",".join(f"{weight:g}" for weight in self.mix)
        return f"reward-model:{self.weights.id}{mixed}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        """One judgement a response, in their order: a score, or unscored with the reason.

        Raises:
            DataError: a response's prompt is not among `prompts`.
        """
        known = {prompt.id: prompt.messages for prompt in prompts}
        for response in responses:
            if response.prompt not in known:
                raise DataError(f"the prompt {response.prompt} of response {response.id} is not among the prompts")
        scored = self.score([(known[r.prompt], r.messages) for r in responses], work=work)
        return [
            Judgement(
                prompt=response.prompt,
                responses=(response.id,),
                judge=self.name,
                score=value if isinstance(value, float) else None,
                unscored="" if isinstance(value, float) else value,
                parents=(response.id,),
            )
            for response, value in zip(responses, scored, strict=True)
        ]

    def score(self, texts: Sequence[Texts], *, work: Work | None = None) -> list[float | str]:
        """The score of each (context, response), or the reason why it has none."""
        values: list[float | str] = [""] * len(texts)
        chat, room = _chat(self), context_length(self.weights.path)
        groups: dict[Tokens, dict[Tokens, list[int]]] = {}
        for place, (context, response) in enumerate(texts):
            encoded = _encode(chat, context, response)
            if isinstance(encoded, str):
                values[place] = encoded
            elif sum(map(len, encoded)) > room:
                values[place] = f"{TOO_LONG}: {sum(map(len, encoded))} tokens, but the model holds {room}"
            else:
                groups.setdefault(encoded[0], {}).setdefault(encoded[1], []).append(place)
        packs = plan_packs(groups)
        found = _run(self, packs, work)
        for pack, scores in zip(packs, found, strict=True):
            responses = [groups[prompt][answer] for prompt, answers in pack for answer in answers]
            for places, value in zip(responses, scores, strict=True):
                for place in places:
                    values[place] = value if math.isfinite(value) else NOT_FINITE
        return values


def score_responses(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    *,
    reward: Weights,
    mix: Sequence[float] | None = None,
    work: Work | None = None,
) -> Outcome:
    """Step: a judgement with a score for each response; one without a score is dropped, unscored, and says why.

    `mix`: as in `RewardModel`.
    """
    responses = list(responses)
    judge = RewardModel(reward, mix=None if mix is None else tuple(mix))
    judged = judge.judge(prompts, responses, work=work)
    pairs = list(zip(responses, judged, strict=True))
    rows = [judgement for _, judgement in pairs if judgement.score is not None]
    drops = [
        dropped(response, *split_reason(judgement.unscored), unscored=True)
        for response, judgement in pairs
        if judgement.score is None
    ]
    scores = [row.score for row in rows]
    mean = math.fsum(scores) / len(scores) if scores else None
    spread = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / len(scores)) if scores else None
    return Outcome(rows=rows, dropped=drops, taken=len(responses), metrics={"mean": mean, "deviation": spread})


score_responses.noun = Judgement


def split_reason(unscored: str) -> tuple[str, str]:
    """(reason, detail) of an unscored response, as a dropped row keeps them."""
    reason, _, detail = unscored.partition(": ")
    return reason, detail


def _encode(chat: Chat, context: Sequence[Message], response: Sequence[Message]) -> tuple[Tokens, Tokens] | str:
    try:
        encoded = chat.encode(context, response)
    except ChatError as error:
        return f"{NOT_ENCODED}: {error}"
    ids, length = encoded.ids, encoded.prompt_length
    if not length or length == len(ids):
        return f"{NOT_ENCODED}: {'the prompt' if not length else 'the response'} has no token"
    return ids[:length], ids[length:]


def plan_packs(groups: Mapping[Tokens, Mapping[Tokens, list[int]]]) -> list[list[tuple[Tokens, list[Tokens]]]]:
    """Packs of (prompt, its distinct responses) under `PACK_TOKENS`, longest rows first; a longer row stands alone."""
    rows = [(prompt, list(answers)) for prompt, answers in groups.items()]
    sizes = [len(prompt) + sum(map(len, answers)) for prompt, answers in rows]
    packs: list[list[tuple[Tokens, list[Tokens]]]] = []
    room = 0
    for index in sorted(range(len(rows)), key=lambda i: (-sizes[i], i)):
        if sizes[index] > room:
            packs.append([])
            room = PACK_TOKENS
        packs[-1].append(rows[index])
        room -= sizes[index]
    return packs


def _run(judge: RewardModel, packs: list, work: Work | None) -> list[list[float]]:
    mixed = [] if judge.mix is None else [judge.mix]
    digest = content_id([SCORING, judge.weights.id, compute().dtype, packs, *mixed])
    results: list[list[float] | None] = [None] * len(packs)
    if work is not None:
        results = [work.journal.get(f"{digest}/{i}") for i in range(len(packs))]
    missing = [i for i, result in enumerate(results) if result is None]
    done = len(packs) - len(missing)
    for place, result in parallel(score_pack, [(judge.weights, packs[i], judge.mix) for i in missing]):
        results[missing[place]] = result
        done += 1
        if work is not None:
            # JSON knows no NaN, and a score that is none must come back as none.
            work.journal.put(f"{digest}/{missing[place]}", [v if math.isfinite(v) else None for v in result])
            work.progress(done, len(packs), "packs")
    return [[float("nan") if value is None else value for value in result] for result in results]


def score_pack(weights: Weights, pack: list, mix: tuple[float, ...] | None = None) -> list[float]:
    """Scores of one pack in this process, in the order of its rows and their responses."""
    import torch

    from burnish.losses import aggregate
    from burnish.models import Row, build_pack, response_scores

    here = compute()
    model = _loaded(weights, here.dtype, here.device)
    if getattr(model.config, "score_reads", "response") != "response":
        raise ModelError(f"{weights.path} scores reasoning steps; a judge of whole answers needs another reward model")
    rows = [Row(tuple(prompt), tuple(tuple(answer) for answer in answers)) for prompt, answers in pack]
    with torch.no_grad():
        scores = response_scores(model, build_pack(rows))
    if scores.ndim == 1:
        scores = scores[:, None]
    if mix is None and scores.shape[1] > 1:
        raise ModelError(
            f"{weights.path} has {scores.shape[1]} heads; a judge needs a reward model with one, or mix= with a weight "
            "for each head"
        )
    return (scores[:, 0] if mix is None else aggregate(scores, mix)).double().tolist()


def _loaded(weights: Weights, dtype: str, device: str) -> PreTrainedModel:
    from burnish.models import load_reward

    name = (weights.id, dtype, device)
    if name not in _models:
        while len(_models) >= _KEPT_MODELS:
            _models.popitem(last=False)
        _models[name] = load_reward(weights, dtype=dtype, device=device)
    _models.move_to_end(name)
    return _models[name]


@lru_cache(maxsize=8)
def _chat(judge: RewardModel) -> Chat:
    return load_chat(judge.weights.path, format=judge.format)
