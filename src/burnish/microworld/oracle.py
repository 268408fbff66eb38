"""The oracle: teacher, annotator, editor and judge of the microworld, who knows the truth and errs as often as told to.

It stands in for people or a large model; wherever it does, the report says *simulated*. Its verdicts depend on
the ids of the rows and its seed alone, never on the order in which it is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from random import Random

from burnish.errors import WorkerError
from burnish.microworld.prompting import checkers, checks_known_truth
from burnish.protocols import Work
from burnish.records import Judgement, Message, Prompt, Response, Sampling

# Utility: what a good answer is worth, in points. ASSUMED, all of it: correctness outweighs all the rest together.
CORRECT, STEPS, FORM, WORDY = 4.0, 1.5, 0.5, 0.5
# Margins of utility from which one answer is marginally, slightly, clearly and significantly better (§3.7's labels).
MARGINS = (0.1, 0.6, 1.2, 3.0)  # ASSUMED
_PIECE = re.compile(r"(,\s+|(?<=[.!?;])\s+|\n)")


def pieces(text: str) -> tuple[list[str], list[str]]:
    """The steps of a text and what stands between them: cut at commas, sentence ends and line breaks."""
    parts = _PIECE.split(text.strip())
    return parts[::2], parts[1::2]


def _bare(piece: str) -> str:
    return piece.strip().rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Knows the truth of every prompt of the microworld.

    Args:
        seed: with the ids of the rows, decides the order shown and which verdicts are wrong.
        error: share of comparisons in which the verdict is false, and of the teacher's answers that are wrong.
        noise: share of quality points that are off by one.
    """

    seed: int = 0
    error: float = 0.0
    noise: float = 0.1

    @property
    def name(self) -> str:
        """How the oracle signs its judgements."""
        return f"oracle(seed={self.seed}, error={self.error:g}), simulated"

    def utility(self, prompt: Prompt, response: Response) -> float:
        """What the answer is worth, without error, 0 to 6: correctness (4), steps shown (1.5), form (0.5), less up to
        0.5 for wordiness or a cut-off end.

        Raises:
            ValueError: the prompt is not of the microworld (see `checks_known_truth`).
        """
        value = self._worth(prompt, response.text)
        return value - WORDY if response.finish == "length" else value

    def _worth(self, prompt: Prompt, text: str) -> float:
        if not checks_known_truth(prompt):
            raise ValueError(f"prompt {prompt.id} has no truth that the oracle knows")
        answer = json.loads(prompt.reference)["answer"]
        right = checkers()[prompt.checker].check_text(prompt, text).correct is True
        wanted, given = [_bare(p) for p in pieces(answer)[0]], [_bare(p) for p in pieces(text)[0]]
        matcher = SequenceMatcher(None, wanted, given, autojunk=False)
        shown = sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)
        shaped = bool(given) and re.sub(r"\d+", "0", given[-1])[:12] == re.sub(r"\d+", "0", wanted[-1])[:12]
        excess = max(0.0, len(text) / len(answer) - 1.2)
        return max(0.0, CORRECT * right + STEPS * shown + FORM * shaped - min(WORDY, excess))

    def _rng(self, act: str, *ids: str) -> Random:
        return Random(f"burnish/oracle/{self.seed}/{act}/{'/'.join(ids)}")

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        """Compare two responses (or more: the best against the next): winner or tie, with one of four strengths.

        A share `error` of all comparisons is false: another winner, or a winner where there is a tie. Unscored where
        the truth is not known.
        """
        ids = tuple(response.id for response in responses)
        known = {"prompt": prompt.id, "responses": ids, "judge": self.name, "parents": ids}
        if not checks_known_truth(prompt):
            return Judgement(**known, unscored="the oracle does not know this prompt's truth")
        rng = self._rng("rank", prompt.id, *sorted(ids))
        by_id = sorted(range(len(ids)), key=lambda i: (ids[i], i))
        place = {number: rng.random() for number in by_id}
        shown = tuple(sorted(by_id, key=place.__getitem__))
        values = [self.utility(prompt, response) for response in responses]
        best = max(by_id, key=values.__getitem__)
        margin = values[best] - max((values[i] for i in by_id if i != best), default=values[best])
        strength = sum(margin >= bound for bound in MARGINS)
        false, other = rng.random() < self.error, rng.choice([i for i in by_id if i != best] or [best])
        if false:
            best, strength = other, max(strength, 1)
        said = "; ".join(f"{'AB CD EF'.replace(' ', '')[k % 6]} is worth {values[i]:.2f}" for k, i in enumerate(shown))
        if not strength:
            return Judgement(**known, winner=-1, shown=shown, transcript=said)
        return Judgement(**known, winner=best, strength=strength, shown=shown, transcript=said)

    def edit(self, prompt: Prompt, response: Response) -> tuple[Message, ...] | None:
        """The response with at most one step mended (replaced, taken out, or put in between right ones), or None when
        no single step makes it better. An answer without any right step is left alone: there is nothing to go by.
        """
        if not checks_known_truth(prompt) or not response.messages or response.messages[-1].role != "assistant":
            return None
        text, answer = response.text, json.loads(prompt.reference)["answer"]
        best, worth = None, self._worth(prompt, text) + MARGINS[0]
        for candidate in one_step_edits(text, answer):
            value = self._worth(prompt, candidate)
            if value > worth:
                best, worth = candidate, value
        if best is None:
            return None
        last = response.messages[-1]
        return (*response.messages[:-1], Message(role=last.role, content=best, end=last.end))

    def points(self, prompt: Prompt, response: Response) -> tuple[bool, bool, bool]:
        """Whether an answer is right, shows steps, and is in form (after §3.10's three criteria), without error."""
        answer = json.loads(prompt.reference)["answer"]
        right = checkers()[prompt.checker].check_text(prompt, response.text).correct is True
        worth = self.utility(prompt, response) - CORRECT * right
        return right, worth >= STEPS / 2, len(response.text) <= 1.2 * len(answer) and worth > 0

    def quality(self, prompt: Prompt, response: Response) -> int:
        """The three points added up, noisy."""
        points = sum(self.points(prompt, response))
        rng = self._rng("quality", prompt.id, response.id)
        if rng.random() < self.noise:
            points += rng.choice((-1, 1))
        return min(3, max(0, points))

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        """The teacher: n answers a prompt, right and with steps; a share `error` of them is spoiled and wrong.

        Raises:
            WorkerError: the truth of a prompt is not known.
        """
        rows = []
        for prompt in prompts:
            if not checks_known_truth(prompt):
                raise WorkerError(f"the oracle does not know the truth of prompt {prompt.id}; ask a real teacher")
            for index in range(n):
                rng = self._rng("answer", prompt.id, str(index), str(sampling.seed))
                text = json.loads(prompt.reference)["answer"]
                if rng.random() < self.error:
                    text = self._spoiled(prompt, text, rng)
                said = (Message(role="assistant", content=text),)
                rows.append(
                    Response(
                        prompt=prompt.id,
                        messages=said,
                        model=self.name,
                        sampling=sampling,
                        index=index,
                        parents=(prompt.id,),
                    )
                )
        return rows

    def _spoiled(self, prompt: Prompt, text: str, rng: Random) -> str:
        """The text with one number off by one or one piece left out, such that it is wrong."""
        numbers = [match.span() for match in re.finditer(r"\d+", text)]
        tries = [text[:a] + str(int(text[a:b]) + 1) + text[b:] for a, b in numbers]
        given, gaps = pieces(text)
        tries += [_joined(given, gaps, place, [], 1) for place in range(len(given)) if len(given) > 1]
        rng.shuffle(tries)
        check = checkers()[prompt.checker].check_text
        return next((t for t in tries if check(prompt, t).correct is False), "I can not say.")

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        """A score for each response: its utility. `prompts` may hold each prompt once or once a response."""
        by_id = {prompt.id: prompt for prompt in prompts}
        rows = []
        for response in responses:
            ids = (response.id,)
            known = {"prompt": response.prompt, "responses": ids, "judge": self.name, "parents": ids}
            prompt = by_id.get(response.prompt)
            if prompt is None or not checks_known_truth(prompt):
                rows.append(Judgement(**known, unscored="the oracle does not know this prompt's truth"))
            else:
                rows.append(Judgement(**known, score=self.utility(prompt, response)))
        return rows


def one_step_edits(text: str, answer: str) -> list[str]:
    """All texts that differ from `text` in one step and agree better with `answer`; none if they share no step."""
    given, gaps = pieces(text)
    wanted, _ = pieces(answer)
    matcher = SequenceMatcher(None, [_bare(p) for p in wanted], [_bare(p) for p in given], autojunk=False)
    if len(given) < 2 or not any(block.size for block in matcher.get_matching_blocks()):
        return []
    found = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "replace" and i2 - i1 == j2 - j1:
            found += [_joined(given, gaps, j1 + n, [wanted[i1 + n]], 1) for n in range(i2 - i1)]
        elif kind == "insert":  # in the text, not in the reference
            found += [_joined(given, gaps, j, [], 1) for j in range(j1, j2)]
        elif kind == "delete":
            found += [_joined(given, gaps, j1, [wanted[i]], 0) for i in range(i1, i2)]
    return found


def _joined(given: list[str], gaps: list[str], at: int, fresh: list[str], replaced: int) -> str:
    """The pieces with `replaced` of them at `at` exchanged for `fresh`; each piece takes the gap after it along."""
    tails = [*gaps, ""]
    rows = list(zip(given, tails, strict=True))
    gap = tails[at] if replaced else (tails[at - 1] if at else tails[0])
    if at == len(given):  # a step put in at the end: the piece before it needs a gap, the new one none
        rows[-1] = (rows[-1][0], " " if rows[-1][0].endswith(".") else ", ")
        gap = ""
    rows[at : at + replaced] = [(piece, gap) for piece in fresh]
    text = "".join(piece + tail for piece, tail in rows)
    return text.rstrip(" ,\n")
