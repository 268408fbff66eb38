"""Give a base model a chat format, and see to it that it learns to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from burnish.chat import Chat, adopt, load_chat, load_tokens
from burnish.errors import ModelError
from burnish.models import build_pack, load_causal, resize_vocabulary, save_model, token_logprobs
from burnish.protocols import Work
from burnish.records import Weights
from burnish.runs import Outcome
from burnish.train.batch import Example, epoch_order, packs

SAMPLE = 32  # responses whose end is looked at (ASSUMED: enough to tell never from sometimes)


def give_chat(base: Weights, *, format: str, work: Work) -> Outcome:
    """A copy of a base model with a chat format: tokens, template, stop ids, and rows for what is new.

    Args:
        base: causal weights whose tokenizer has no chat template (one that it has is replaced).
        format: `llama3` or `chatml`.
        work: the copy is written to `work.folder`.

    Returns:
        No rows; `metrics["notices"]` warns that the model has not learned to stop yet, which SFT teaches.

    Raises:
        ChatError: an unknown format, or no tokenizer.
    """
    tokenizer = Path(work.scratch) / "tokenizer"
    adopted = adopt(base.path, tokenizer, format)
    before = load_tokens(base.path).vocabulary
    model = load_causal(base, dtype="auto")
    embedding = model.get_input_embeddings()
    resize_vocabulary(model, max(adopted.vocabulary, embedding.weight.shape[0]))
    reused = [number for number in adopted.added_ids if number < embedding.weight.shape[0]]
    for matrix in {id(m): m for m in (model.get_input_embeddings(), model.get_output_embeddings())}.values():
        _to_mean(matrix.weight, reused, before)
    chat = load_chat(tokenizer)
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id = list(adopted.stop_ids), adopted.pad_id
        config.bos_token_id = chat.bos_id if chat.bos_id is not None else config.bos_token_id
    weights = save_model(model, Path(work.folder), tokenizer_from=tokenizer)
    stop = chat.tokens.special_names[adopted.stop_ids[0]]
    notice = f"the stop token {stop} of {format} is not trained yet: the model does not stop until SFT has taught it"
    numbers = {"format": format, "added_tokens": list(adopted.added), "vocabulary": adopted.vocabulary}
    return Outcome(taken=0, kept=0, metrics={**numbers, "notices": [notice]}, weights=weights)


def _to_mean(rows: Tensor, numbers: Sequence[int], used: int) -> None:
    """Set spare rows that became tokens to the mean of the rows that were tokens before."""
    with torch.no_grad():
        wide = torch.promote_types(rows.dtype, torch.float32)
        mean = rows[:used].to(wide).mean(0).to(rows.dtype)
        for number in numbers:
            rows[number] = mean


def padding_id(chat: Chat, model: nn.Module) -> int:
    """A token id that no encoded dialogue holds, for padding a reward model's input.

    Its class reads the score at the last token that is not padding, so padding with a stop token would move that
    place. The tokenizer's own pad token if the format never emits it, else a special token that nothing uses, else
    an unused row of the embedding, which grows by one row if it has none.
    """
    tokens = chat.tokens
    taken = {*chat.emitted, *chat.stop_ids, chat.bos_id, tokens.named("unk_token")}
    spare = [number for number in sorted(tokens.special_names) if number not in taken]
    if spare:
        own = tokens.named("pad_token")
        return own if own in spare else spare[0]
    rows = model.get_input_embeddings().weight.shape[0]
    if chat.vocabulary >= rows:
        resize_vocabulary(model, chat.vocabulary + 1)
    return chat.vocabulary


def _ends(example: Example, stop_ids: Sequence[int]) -> np.ndarray:
    """[tokens of all responses] bool: the last trained stop token of each response."""
    ends = np.zeros(len(example.trained), dtype=bool)
    start = 0
    for response in example.row.responses:
        stops = [start + i for i, token in enumerate(response) if token in stop_ids and example.trained[start + i]]
        if stops:
            ends[stops[-1]] = True
        start += len(response)
    return ends


def stop_probability(
    model: nn.Module, examples: Sequence[Example], *, stop_ids: Sequence[int], seed: int, pack_tokens: int
) -> float:
    """Geometric mean of the probability that the model stops where a sample of the responses stops.

    Args:
        examples: tokenised rows; at most `SAMPLE` of them are looked at, drawn by `seed`.
        stop_ids: tokens at which sampling stops.
        pack_tokens: token budget of a pack.

    Raises:
        ModelError: a response does not end in a trained stop token, so nothing would ever teach the model to stop.
    """
    sample = [examples[index] for index in epoch_order(examples, seed=seed, epoch=-1)[:SAMPLE]]
    found: list[Tensor] = []
    for part in packs(sample, budget=pack_tokens):
        ends = [_ends(e, stop_ids) for e in part]
        for example, marked in zip(part, ends, strict=True):
            if marked.sum() < len(example.row.responses):
                raise ModelError(
                    f"row {example.id}: the answer does not end in a stop token that is trained (stop tokens: "
                    f"{list(stop_ids)}); the chat template must close each turn with one. Choose another with --chat "
                    "llama3 or --chat chatml, or name the token as eos_token_id in generation_config.json"
                )
        with torch.no_grad():
            select = torch.from_numpy(np.concatenate(ends))
            found.append(token_logprobs(model, build_pack([e.row for e in part]), select=select))
    return math.exp(torch.cat(found).double().mean().item())


def check_stop_trained(*, before: float, after: float, base: Weights) -> None:
    """Refuse a model that training did not teach to stop.

    Criterion (ASSUMED): the geometric mean of the stop token's probability at the ends of a sample of training
    responses is below one half, so that it is not sure to be the first choice, and is not above what it was before
    training. A weak model after few steps passes, since any training of the token raises it; a token that is masked,
    frozen or shared with padding does not.

    Raises:
        ModelError: with both probabilities.
    """
    if not (after >= 0.5 or after > before):
        raise ModelError(
            f"the model trained from {base.path} has not learned to stop: the stop token's probability where answers "
            f"end is {after:.2g} after training and was {before:.2g} before. Look whether the chat template trains its "
            "terminator, or give the model another format with --chat chatml"
        )
