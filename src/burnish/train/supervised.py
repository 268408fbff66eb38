"""One loop for every method over fixed rows: supervised fine-tuning, reward modelling, DPO.

A kill anywhere resumes to the same bits on a CPU; `session` holds what is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from burnish.losses import dpo_loss
from burnish.protocols import Work
from burnish.records import Demonstration, Document, Preference, Weights
from burnish.runs import Outcome
from burnish.train.objectives import Contrast, Imitation, Method, Ranking
from burnish.train.ranks import ranks
from burnish.train.session import Loop, Session, open_session
from burnish.train.tracking import Track


def train_sft(base: Weights, rows: Sequence[Demonstration], *, work: Work | None = None, **loop: Any) -> Outcome:
    """Supervised fine-tuning of `base` on demonstrations. `loop`: the fields of `Loop`; see `fit`."""
    return fit(base, rows, method=Imitation(), loop=Loop.of(loop), work=work)


def train_reward(
    base: Weights, rows: Sequence[Preference], *, isolate: bool = True, work: Work | None = None, **loop: Any
) -> Outcome:
    """A reward model from a causal base (which gets a new head) or from a reward model, on ranked rows.

    Args:
        isolate: each answer of a row sees the prompt and itself alone (ASSUMED); False reads a row as one plain causal
            run, where an answer sees those before it (spec §3.3: the report does not say which).
        loop: the fields of `Loop`; see `fit`.
    """
    return fit(base, rows, method=Ranking(isolate=isolate), loop=Loop.of(loop), work=work)


def train_dpo(
    policy: Weights,
    rows: Sequence[Preference],
    *,
    beta: float,
    nll_weight: float,
    reference: Weights | None = None,
    work: Work | None = None,
    **loop: Any,
) -> Outcome:
    """DPO with masked formatting tokens and NLL on ranked rows, best against worst.

    Args:
        policy: where training starts.
        beta: 0.1 in Llama 3 (spec §3.5).
        nll_weight: 0.2 in Llama 3 (spec §3.5).
        reference: the frozen reference; the starting policy unless given (ASSUMED, spec §3.5).
        loop: the fields of `Loop`; see `fit`.
    """
    loss = partial(dpo_loss, beta=beta, nll_weight=nll_weight)
    method = Contrast(loss=loss, reference=reference)
    return fit(policy, rows, method=method, loop=Loop.of(loop), work=work)


def fit(
    base: Weights,
    rows: Sequence[Demonstration] | Sequence[Preference] | Sequence[Document],
    *,
    method: Method,
    loop: Loop,
    work: Work | None = None,
    track: Track | None = None,
) -> Outcome:
    """Train `base` on rows and write the weights, with `metrics.jsonl`, into `work.folder`.

    Args:
        base: the starting weights; they are not changed.
        rows: what to train on; rows that do not fit are dropped with a reason.
        work: what a step lends; without it nothing is written and only the numbers come back.
        track: told of every step, such as `tracking.tracker`.

    Returns:
        No rows; `kept` counts the rows trained on, `dropped` holds the others, `metrics` numbers of the run.

    Raises:
        DataError: no row is left, too many were dropped, or a row has nothing to train.
        ModelError: the loss or the gradient is not finite (naming step and rows; the state before it is saved), or
            the trained model has not learned to stop.
    """
    ranks().call(fit, base, rows, method=method, loop=loop, work=work)
    session = open_session(base, rows, method=method, loop=loop, work=work)
    try:
        _train(session, work, track)
    except KeyboardInterrupt:
        session.save_if_whole()
        raise
    session.optimiser.finish()
    with torch.no_grad():
        learned = method.after(session.model, session.examples, session.place)
    weights = session.publish(work) if work is not None else None
    numbers = {**session.summary(), **learned, "notices": session.notices}
    kept = len(rows) - len(session.lost)  # a document may be several examples
    return Outcome(dropped=session.lost, taken=kept + len(session.lost), kept=kept, metrics=numbers, weights=weights)


def _train(session: Session, work: Work | None, track: Track | None) -> None:
    """Go on from `session.step` to the last step."""
    steps = len(session.batches)
    while session.step < steps:
        told = session.update([session.examples[index] for index in session.batches[session.step]])
        if track is not None:
            track(told)
        if session.step < steps and session.progress.due(session.step):
            session.save()
        if work is not None:
            work.progress(session.step, steps, f"loss {told['loss']:.4g}")
