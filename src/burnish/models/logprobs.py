"""Token log-probabilities and response scores of a pack: through the packed core, or through plain padded batches.

`prepare` decides once a model, by a probe: a tiny random input goes through both, in the model's own dtype. Where
they differ, or the packed core refuses, the model keeps plain batches and the notice says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from burnish.errors import ModelError
from burnish.models.attention import NAME
from burnish.models.forward import CORES, Core, packed_forward, read_plain
from burnish.models.head import selected_logprobs, shape_logits, table_logprobs
from burnish.models.pack import Pack, Row, build_pack
from burnish.models.probe import prepare

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def _core(model: PreTrainedModel) -> Core:
    if model not in CORES:
        notice = prepare(model)
        if notice:
            warnings.warn(notice, stacklevel=3)
    core = CORES[model]
    if core.packed and model.config.get_text_config()._attn_implementation != NAME:
        raise ModelError(
            "the model's attention was switched after `prepare`; call `prepare` again or leave the implementation alone"
        )
    return core


def _by_threshold(pack: Pack, threshold: int | None) -> list[tuple[Pack, torch.Tensor]] | None:
    """Packs with rows on one side of a rotary threshold, and the responses each holds; None when one pack will do."""
    if threshold is None or int(pack.positions.max()) < threshold:
        return None
    sides: dict[bool, tuple[list[Row], list[int]]] = {}
    number = 0
    for row in pack.rows:
        for one in [row] if pack.causal else [Row(row.prompt, (response,)) for response in row.responses]:
            side = len(one.prompt) + sum(map(len, one.responses)) > threshold
            rows, numbers = sides.setdefault(side, ([], []))
            rows.append(one)
            numbers += range(number, number + len(one.responses))
            number += len(one.responses)
    if len(sides) == 1 and not any(len(row.responses) > 1 for row in pack.rows):
        return None
    return [(build_pack(rows, causal=pack.causal), torch.tensor(numbers)) for rows, numbers in sides.values()]


def _check_length(model: PreTrainedModel, pack: Pack) -> None:
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is None or int(pack.positions.max()) < limit:
        return
    for number, row in enumerate(pack.rows):
        sizes = [len(response) for response in row.responses]
        longest = len(row.prompt) + (sum(sizes) if pack.causal else max(sizes))
        if longest > limit:
            raise ModelError(
                f"row {number} of the batch has {longest} tokens but the model's context is {limit}; "
                "drop or shorten such rows"
            )


def token_logprobs(
    model: PreTrainedModel, pack: Pack, *, select: torch.Tensor | None = None, chunk: int | None = None
) -> torch.Tensor:
    """log p(token | what its response sees) of every response token, or of the selected ones.

    Args:
        model: a causal language model; prepared on first use if it is not yet.
        pack: what to compute.
        select: bool [N], or indices [K] into the N response tokens (order: row, response, token); None for all.
        chunk: rows of the head at a time; None picks it by memory.

    Returns:
        [N] or [K], float32 at least, on the model's device; differentiable.

    Raises:
        ModelError: a row is longer than the model's context.
    """
    core, wanted = _core(model), _wanted(pack, select)
    _check_length(model, pack)
    parts = _by_threshold(pack, core.threshold)
    if parts is not None:
        whole = _merge_tokens(pack, parts, lambda part: token_logprobs(model, part, chunk=chunk))
        return whole[wanted.to(whole.device)]
    states = _states(model, pack, wanted)
    targets = pack.targets[wanted].to(states.device)
    if core.head is None:
        return table_logprobs(states, targets)
    return selected_logprobs(model.get_output_embeddings(), states, targets, core.head, chunk=chunk)


def token_logits(model: PreTrainedModel, pack: Pack, *, select: torch.Tensor | None = None) -> torch.Tensor:
    """Logits that predict every response token, or the selected ones: [N, V] or [K, V], arguments as `token_logprobs`.

    The table is as large as it looks; `token_logprobs` needs no table.
    """
    core, wanted = _core(model), _wanted(pack, select)
    _check_length(model, pack)
    parts = _by_threshold(pack, core.threshold)
    if parts is not None:
        whole = _merge_tokens(pack, parts, lambda part: token_logits(model, part))
        return whole[wanted.to(whole.device)]
    states = _states(model, pack, wanted)
    return states if core.head is None else shape_logits(model.get_output_embeddings()(states), core.head)


def _wanted(pack: Pack, select: torch.Tensor | None) -> torch.Tensor:
    """Indices of the selected response tokens."""
    wanted = torch.arange(pack.targets.shape[0])
    return wanted if select is None else wanted[select.to(wanted.device)]


def _states(model: PreTrainedModel, pack: Pack, wanted: torch.Tensor) -> torch.Tensor:
    """[K, H] hidden states that predict the wanted response tokens; [K, V] logits where the head has no known form."""
    core = _core(model)
    full = core.head is None
    if core.packed:
        states = packed_forward(model, pack, logits=full)
        return states.index_select(0, pack.read[wanted].to(states.device))
    states, places = read_plain(model, pack, True, logits=full)
    back = torch.empty_like(places)
    back[places] = torch.arange(len(places))
    return states.index_select(0, back[wanted].to(states.device))


def _merge_tokens(
    pack: Pack, parts: list[tuple[Pack, torch.Tensor]], of: Callable[[Pack], torch.Tensor]
) -> torch.Tensor:
    values, places = [], []
    for part, numbers in parts:
        values.append(of(part))
        places.append(torch.isin(pack.token_response, numbers).nonzero()[:, 0])
    value, place = torch.cat(values), torch.cat(places)
    return value[place.argsort().to(value.device)]


def head_scores(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """The reward head on hidden states: [K], or [K, heads] where it has several; in at least float32."""
    scores = model.score(states)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores[:, 0] if scores.shape[1] == 1 else scores


def _need_head(model: PreTrainedModel) -> None:
    if getattr(model, "score", None) is None:
        raise ModelError(f"a {type(model).__name__} has no reward head; load it with `load_reward` or `new_reward`")


def response_states(model: PreTrainedModel, pack: Pack) -> torch.Tensor:
    """[R, H] hidden states on the last token of each response: what a reward model's heads read; differentiable."""
    core = _core(model)
    _check_length(model, pack)
    parts = _by_threshold(pack, core.threshold)
    if parts is not None:
        value = torch.cat([response_states(model, part) for part, _ in parts])
        return value[torch.cat([numbers for _, numbers in parts]).argsort().to(value.device)]
    if core.packed:
        hidden = packed_forward(model, pack)
        return hidden.index_select(0, pack.last.to(hidden.device))
    states, places = read_plain(model, pack, False)
    return states.index_select(0, places.argsort().to(states.device))


def response_scores(model: PreTrainedModel, pack: Pack) -> torch.Tensor:
    """The reward head on the last token of each response, where `AutoModelForSequenceClassification` reads it.

    Returns:
        [R], or [R, heads] where the head has several; in the model's dtype, at least float32; differentiable.
    """
    _need_head(model)
    return head_scores(model, response_states(model, pack))


def token_scores(model: PreTrainedModel, pack: Pack, *, select: torch.Tensor | None = None) -> torch.Tensor:
    """The reward head on every response token, or on the selected ones: a step's score is read where the step ends.

    Args:
        select: as in `token_logprobs`.

    Returns:
        [N] or [K], or with a second axis of heads where there are several; as `response_scores`.
    """
    _need_head(model)
    core, wanted = _core(model), _wanted(pack, select)
    _check_length(model, pack)
    parts = _by_threshold(pack, core.threshold)
    if parts is not None:
        whole = _merge_tokens(pack, parts, lambda part: token_scores(model, part))
        return whole[wanted.to(whole.device)]
    if core.packed:
        hidden = packed_forward(model, pack)
        # a response's tokens lie one after another and end at `last`
        first = pack.last[pack.token_response] - torch.bincount(pack.token_response)[pack.token_response] + 1
        states = hidden.index_select(0, (first + pack.token_offset)[wanted].to(hidden.device))
    else:
        states, places = read_plain(model, pack, True, shift=1)
        back = torch.empty_like(places)
        back[places] = torch.arange(len(places))
        states = states.index_select(0, back[wanted].to(states.device))
    return head_scores(model, states)
