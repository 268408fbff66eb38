"""Rounds on fresh answers: sample, reward, group, update, again. In and out as in `train.supervised`.

    prompts of the round -> K answers each (rollout) -> rewards -> groups without a difference go, others come in
        -> reference and old log-probabilities, once -> updates: packs, loss, AdamW (train.session)

A checkpoint is written between rounds. A round that was killed begins again with the same weights, prompts and random
numbers, so it draws the same answers; what its rewards cost is in the request store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

import torch

from burnish.chat import load_chat
from burnish.errors import BurnishError, ChatError, DataError, ModelError, WorkerError
from burnish.models import prepare
from burnish.protocols import Work
from burnish.records import Dropped, Prompt, Response, Sampling, Weights, dropped
from burnish.runs import Outcome, compute
from burnish.train.batch import MALFORMED, TOO_LONG, Example, epoch_order
from burnish.train.objectives import Place
from burnish.train.on_policy.exploring import Exploring
from burnish.train.on_policy.groups import Books, Rewarded, Shown, example_of
from burnish.train.on_policy.objectives import Fresh, OnlineDistillation
from burnish.train.on_policy.rewards import Reward, Rewarder, timed
from burnish.train.on_policy.rollout import Group, Sampler
from burnish.train.on_policy.rollouts import Served, Tools, sampler_of
from burnish.train.on_policy.samples import Samples
from burnish.train.on_policy.variance import Seen
from burnish.train.optim.adapters import add_lora
from burnish.train.optim.average import starting_share
from burnish.train.optim.recompute import Recompute
from burnish.train.ranks import ranks
from burnish.train.session import Loop, Session, check_template, dropout_notice, new_optimiser, own_memory
from burnish.train.tracking import Track

# Of the rounds, in the step's numbers.
SUMMED = ("groups", "groups_flat", "groups_missing", "rewards_missing", "answers_lost")


def fit_fresh(
    base: Weights,
    prompts: Sequence[Prompt],
    *,
    method: Fresh,
    loop: Loop,
    exploring: Exploring,
    rewarder: Rewarder | None = None,
    sampler: Served | None = None,
    tools: Tools | None = None,
    work: Work | None = None,
    track: Track | None = None,
) -> Outcome:
    """Train `base` on its own answers to the prompts, by what the rewarder finds them worth.

    Args:
        prompts: those that do not fit the context with an answer, or the chat format, are dropped with a reason.
        loop: `batch_rows` is not used: a batch is a round's groups over its updates.
        rewarder: None for a method that asks for no rewards.
        sampler: a server that draws the answers; None draws them in this process.
        tools: what the answers may call.

    Returns:
        No rows; `kept` counts the prompts that can be asked to the end, `metrics` holds first and last rewards and the
        totals.

    Raises:
        DataError: no prompt is left, or more than `refuse_above` of them were dropped.
        WorkerError: nothing in a whole round has a reward, a rewarder gives something else than rewards, or a server
            cannot serve (`rollouts.served`).
        ModelError: not finite, or the sampler and the trainer disagree by more than `most_gap`.
        In each case the state is that before the round, or before an earlier one if updates were made in this.
    """
    how = {"method": method, "loop": loop, "exploring": exploring, "sampler": sampler, "tools": tools}
    ranks().call(fit_fresh, base, prompts, **how, work=work)  # the first process asks for rewards, and the server
    rounds = _Rounds(base, prompts, **how, rewarder=rewarder, work=work)
    try:
        rounds.play(track)
    except (KeyboardInterrupt, BurnishError):
        rounds.session.save_if_whole()
        raise
    session = rounds.session
    session.optimiser.finish()
    weights = session.publish(work) if work is not None else None
    if work is not None and weights is not None:
        rounds.samples.publish(Path(work.folder))
    numbers = {**session.summary(), **_over_rounds(session), "notices": session.notices}
    numbers.pop("seen", None)
    lost = [*rounds.lost, *rounds.silent()]
    return Outcome(dropped=lost, taken=len(prompts), kept=len(prompts) - len(lost), metrics=numbers, weights=weights)


class _Rounds:
    """One training on fresh answers under way."""

    def __init__(
        self, base: Weights, prompts: Sequence[Prompt], *, method: Fresh, loop: Loop, exploring: Exploring,
        rewarder: Rewarder | None, sampler: Served | None, tools: Tools | None, work: Work | None,
    ) -> None:  # fmt: skip
        exploring.check(method)
        self.exploring, self.work = exploring, work
        self.rewarder = timed(rewarder, exploring.reward_seconds) if rewarder is not None else None
        self.cursor, self.turn, self.order = 0, -1, list[int]()
        self.seen: Seen = {}
        self.session, local = open_fresh(base, method=method, loop=loop, exploring=exploring, work=work)
        self.sampler, self.served = sampler_of(self.session, local, sampler, tools), sampler is not None
        self.prompts, self.lost = self._fitting(prompts)
        self.rounds = exploring.rounds or -(-loop.epochs * len(self.prompts) // exploring.prompts)
        scratch = self.session.place.scratch if self.session.ranks.rank == 0 else None
        self.samples = Samples(scratch, rounds=self.rounds)
        # What the schedule is over, and what the loop of updates asks for.
        self.session.batches, self.session.round_steps = [[]] * (self.rounds * exploring.updates), exploring.updates
        self.session.notices += [told for told in [starting_share(loop.ema, len(self.session.batches))] if told]
        self.session.totals |= {"cursor": 0, "rounds": 0}
        saved = self.session.progress.resume()
        if saved is not None:
            state, note = saved
            self.session.optimiser.load(state)
            self.session.method.load(state)
            self.session.step, self.session.totals = note["step"], note["totals"]

    def _fitting(self, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[Dropped]]:
        left, lost = [], []
        loop, method, chat = self.session.loop, self.session.method, self.sampler.style.chat
        most = min(self.sampler.room, loop.max_length or self.sampler.room)
        self.session.notices += method.opened(chat, most=most, refuse_above=loop.refuse_above)
        for prompt in prompts:
            try:
                why, reason = self.sampler.fits(prompt, self.exploring.max_new_tokens, most=loop.max_length), TOO_LONG
                why = why or method.unfit(prompt, chat, most=most)
            except ChatError as error:
                why, reason = str(error), MALFORMED
            if why:
                lost.append(dropped(prompt, reason, why))
            else:
                left.append(prompt)
        if not left or len(lost) > loop.refuse_above * len(prompts):
            said = f"; the first: {lost[0].reason} ({lost[0].detail}), prompt {lost[0].parents[0]}" if lost else ""
            raise DataError(
                f"{len(lost)} of {len(prompts)} prompts were dropped, and {len(left)} are left{said}. Lower "
                "max_new_tokens if they are long, mend them, or raise refuse_above"
            )
        return left, lost

    def silent(self) -> list[Dropped]:
        """The prompts that were asked no more, each with its variance."""
        return self.exploring.variance.dropped(self.session.totals.get("seen", {}), self.prompts)

    def play(self, track: Track | None) -> None:
        """Go on from the last whole round to the end."""
        session, done = self.session, self.session.totals["rounds"]
        for number in range(done, self.rounds):
            self.cursor, self.seen = session.totals["cursor"], session.totals.get("seen", {})
            batches, books = self._explore(number)
            told = books.told()
            if self.exploring.filter_after:
                told["prompts_silent"] = float(self.exploring.variance.count(self.seen))
            for batch in batches:
                line = session.update(batch, told=told) if batch else session.skip(told)
                if line.get("sampler_gap", 0.0) > self.exploring.most_gap:
                    raise ModelError(
                        f"round {number + 1}: the sampler and the trainer differ by {line['sampler_gap']:.3g} nats a "
                        f"token in the mean, above most_gap ({self.exploring.most_gap:g}); compute in float32, or look "
                        "why the two forward passes differ (a server: whether it has read the new weights)"
                    )
                if track is not None:
                    track(line)
            # in one assignment, so that an interrupt finds both or neither
            memory = {"seen": self.seen} if self.exploring.filter_after else {}
            session.totals = {**session.totals, **memory, "rounds": number + 1, "cursor": self.cursor}
            if number + 1 < self.rounds and session.progress.due(number + 1):
                session.save()
            if self.work is not None:
                note = f"reward {told['reward']:.4g}" if "reward" in told else f"loss {line['loss']:.4g}"
                self.work.progress(number + 1, self.rounds, note)

    def _explore(self, number: int) -> tuple[list[list[Example]], Books | Shown]:
        """Batches of the groups that round `number` learns from, when all that the loss compares with is measured."""
        method, wanted, books, kept = self.session.method, self.exploring.prompts, Books(), []
        asked: list[Rewarded] = []
        how = {"least_spread": method.least_spread, "by_steps": method.by_steps}
        if isinstance(method, OnlineDistillation):
            return self._shown(method, number)
        for _ in range(1 + self.exploring.refills):
            asked += (found := self._ask(wanted - len(kept), number))
            kept += books.take(found, **how)
            if len(kept) >= wanted:
                break
        if not books.rewards:
            raise WorkerError(f"round {number + 1}: {books.nothing()}; the same command goes on from before this round")
        self.seen = self.exploring.variance.seen(self.seen, asked)
        self.samples.write(number, asked)
        return self._batches([method.picked(one) for one in kept], number), books

    def _shown(self, method: OnlineDistillation, number: int) -> tuple[list[list[Example]], Shown]:
        """Batches of a round that asks for no rewards: of own answers, or of given ones."""
        first, prompts = self.cursor, self._next(self.exploring.prompts)
        if method.own_turn(number, self.session.loop.seed):
            groups = [group for group in self._draw(prompts, number, first) if group.responses]
            return self._batches([Rewarded(group=group, rewards=()) for group in groups], number), Shown(groups=groups)
        batches = _split(method.taught(prompts), self.exploring.updates)
        method.explored(self.session.model, batches, {}, self.session.place, number=number)
        return batches, Shown()

    def _batches(self, kept: Sequence[Rewarded], number: int) -> list[list[Example]]:
        """Drawn groups as the batches of the round's updates."""
        method, session = self.session.method, self.session
        examples = [example_of(one) for one in kept]
        sampled = {e.id: _sampled(one) for e, one in zip(examples, kept, strict=True)}
        sampled = {} if self.exploring.same_engine else sampled
        batches = _split(examples, self.exploring.updates)
        for example, one in zip(examples, kept, strict=True):
            method.noted(example, one, self.sampler.style.chat)
        method.explored(session.model, batches, sampled, session.place, number=number)
        return method.joined(batches, number)

    def _next(self, count: int) -> list[Prompt]:
        """The next prompts of the endless order: each pass over all of them is shuffled by the seed.

        Raises:
            DataError: every prompt has been left out for its rewards.
        """
        found, variance = [], self.exploring.variance
        variance.check(self.seen, self.prompts)
        while len(found) < count:
            turn, index = divmod(self.cursor, len(self.prompts))
            if self.turn != turn:
                self.turn, self.order = turn, epoch_order(self.prompts, seed=self.session.loop.seed, epoch=turn)
            prompt = self.prompts[self.order[index]]
            self.cursor += 1
            if not variance.silent(self.seen, prompt.id):
                found.append(prompt)
        return found

    def _ask(self, count: int, number: int) -> list[Rewarded]:
        """Answers to the next `count` prompts, with their rewards."""
        first, prompts = self.cursor, self._next(count)
        groups = self._draw(prompts, number, first)
        answers = [response for group in groups for response in group.responses]
        rewards = self.session.ranks.first(lambda: self._reward(prompts, answers))
        given = iter(rewards)
        return [Rewarded(group=group, rewards=tuple(islice(given, len(group.responses)))) for group in groups]

    def _reward(self, prompts: Sequence[Prompt], answers: Sequence[Response]) -> list[Reward]:
        known = {prompt.id: prompt for prompt in prompts}
        rewards = list(self.rewarder.rewards(known, answers, work=self.work)) if answers else []
        _check_rewards(self.rewarder.name, rewards, answers)
        return rewards

    def _draw(self, prompts: Sequence[Prompt], number: int, first: int) -> list[Group]:
        """Answers to prompts; `first` is where they begin among all that were asked."""
        how = self.exploring
        sampling = Sampling(
            temperature=how.temperature,
            top_p=how.top_p,
            max_new_tokens=how.max_new_tokens,
            seed=self.session.loop.seed,
        )

        def draw(some: Sequence[Prompt], at: int) -> list[Group]:
            return self.sampler.draw(some, n=how.samples, sampling=sampling, first=first + at, number=number)

        if self.served:
            self.sampler.follow()
            return self.session.ranks.first(lambda: draw(prompts, 0))
        return self.session.ranks.each(prompts, draw)


def _check_rewards(name: str, rewards: Sequence[Reward], answers: Sequence[Response]) -> None:
    if len(rewards) != len(answers):
        raise WorkerError(f"{name} gave {len(rewards)} rewards for {len(answers)} answers; it must give one each")
    for reward, answer in zip(rewards, answers, strict=True):
        if reward.value is not None and not math.isfinite(reward.value):
            raise WorkerError(
                f"{name} gave the reward {reward.value} to answer {answer.index + 1} of prompt {answer.prompt}; give a "
                "finite number, or None where there is none"
            )


def _over_rounds(session: Session) -> dict[str, float]:
    """The first reward and the last, and sums over all rounds; each update of a round tells the round's numbers."""
    rounds = [json.loads(line) for line in session.progress.lines[:: session.round_steps]]
    if not session.method.rewarded:
        return {"all_on_policy": sum(one["on_policy"] for one in rounds)}
    told = {f"all_{name}": sum(one[name] for one in rounds) for name in SUMMED}
    return {"first_reward": rounds[0]["reward"], "reward": rounds[-1]["reward"], **told}


def _sampled(one: Rewarded) -> torch.Tensor:
    """[tokens of all answers] the sampler's log-probabilities."""
    return torch.tensor([p for response in one.group.responses for p in response.logprobs], dtype=torch.float64)


def _split(examples: Sequence[Example], parts: int) -> list[list[Example]]:
    """Into `parts` batches that differ by one at most, in order; empty ones where there are too few."""
    size, more = divmod(len(examples), parts)
    bounds = [0]
    for part in range(parts):
        bounds.append(bounds[-1] + size + (part < more))
    return [list(examples[a:b]) for a, b in pairwise(bounds)]


def open_fresh(
    base: Weights, *, method: Fresh, loop: Loop, exploring: Exploring, work: Work | None
) -> tuple[Session, Sampler]:
    """The model, its sampler and the optimiser; nothing is asked yet."""
    from burnish.models import load_causal

    chat = load_chat(Path(base.path), format=loop.format)
    notices = check_template(chat)
    model = load_causal(base, dtype=compute().dtype, device=compute().device)
    own_memory(model)
    if loop.lora_rank:
        add_lora(model, rank=loop.lora_rank, alpha=loop.lora_alpha, seed=loop.seed)
    notices += [notice for notice in (prepare(model), dropout_notice(model)) if notice]
    together = ranks()
    together.take(model, recompute=loop.recompute, sequence=loop.sequence_parallel)
    scratch = Path(work.scratch) if work is not None else None
    place = Place(
        base=base,
        stop_ids=tuple(chat.stop_ids),
        pack_tokens=loop.pack_tokens,
        seed=loop.seed,
        dtype=compute().dtype,
        device=compute().device,
        scratch=scratch,
    )
    method.before(model, [], place)
    session = Session(
        model=model,
        method=method,
        loop=loop,
        examples=[],
        lost=[],
        batches=[],
        optimiser=new_optimiser(model, loop, start=base),
        progress=together.progress(scratch, checkpoint_steps=loop.checkpoint_steps, base=base),
        place=place,
        totals={"tokens": 0, "computed_tokens": 0},
        notices=notices,
        ranks=together,
        recompute=Recompute(model, group=loop.recompute) if loop.recompute else None,
    )
    return session, Sampler(model, chat, name=base.id)
