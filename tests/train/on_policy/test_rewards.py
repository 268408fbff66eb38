"""Functions of one's own, checkers, judges and weighted sums: what is missing says why, what is wrong stops."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Verdict
from burnish.records import Judgement, Prompt, Response
from burnish.train.on_policy import CheckerReward, FunctionReward, JudgeReward, Reward, WeightedReward
from tests.train.material import said

PROMPT = Prompt(messages=(said("system", "Sum."), said("user", "1 + 1")), checker="sum", reference="2", ability="sums")
ANSWERS = [
    Response(prompt=PROMPT.id, messages=(said("assistant", text),), token_ids=(5, i), model="m", index=i, finish="stop")
    for i, text in enumerate(("2", "3", "two"))
]


def of(rewarder: Any) -> list[Reward]:
    return rewarder.rewards({PROMPT.id: PROMPT}, ANSWERS)


def function(place: Path, body: str, seconds: float = 5.0) -> FunctionReward:
    (place / "mine.py").write_text(body)
    return FunctionReward.of(f"{place / 'mine.py'}:f", seconds=seconds)


@pytest.mark.parametrize(
    "body",
    [
        "def f(prompts, completions, reference, **more):\n"
        "    return [float(c == r) for c, r in zip(completions, reference)]",
        "def f(completions, **more):\n    assert more['prompts'] == ['1 + 1'] * 3\n"
        "    return [c == '2' for c in completions]",
        "def f(completions):\n    return [int(c == '2') for c in completions]",
        "import numpy as np\ndef f(completions, completion_ids):\n"
        "    assert completion_ids == [[5, 0], [5, 1], [5, 2]]\n    return np.array([1, 0, 0], dtype=np.float32)",
        "async def f(completions, **more):\n    return [float(c == '2') for c in completions]",
        "import torch\ndef f(*, ability, checker):\n"
        "    assert ability == ['sums'] * 3 and checker == ['sum'] * 3\n    return list(torch.tensor([1.0, 0.0, 0.0]))",
    ],
)
def test_functions_are_called_by_the_names_of_their_parameters(tmp_path, body):
    assert [reward.value for reward in of(function(tmp_path, body))] == [1.0, 0.0, 0.0]


def test_none_is_missing(tmp_path):
    found = of(function(tmp_path, "def f(completions):\n    return [1, None, 0.5]"))
    assert [reward.value for reward in found] == [1.0, None, 0.5] and "gave none" in found[1].why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def f(completions):\n    return 1 / 0", "raised ZeroDivisionError: division by zero (line 2: return 1 / 0)"),
        ("def f(completions):\n    raise SystemExit(3)", "raised SystemExit: 3"),
        ("def f(completion):\n    return []", "raised TypeError"),
        ("import time\ndef f(completions):\n    time.sleep(30)", "took more than 0.2 s"),
    ],
)
def test_a_function_that_raises_or_hangs_gives_no_rewards(tmp_path, body, why):
    began = time.monotonic()
    found = of(function(tmp_path, body, seconds=0.2 if "sleep" in body else 5.0))
    assert all(reward.value is None and why in reward.why for reward in found) and len(found) == 3
    assert time.monotonic() - began < 5


def test_a_function_that_hangs_keeps_nobody_from_leaving(tmp_path):
    (tmp_path / "mine.py").write_text("import time\ndef f(completions):\n    time.sleep(60)\n")
    code = (
        "import time\nfrom burnish.train.on_policy import FunctionReward\n"
        f"FunctionReward.of({str(tmp_path / 'mine.py')!r} + ':f', seconds=0.1).rewards({{}}, [])\n"
        "print(time.monotonic())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and time.monotonic() - float(done.stdout) < 40


@pytest.mark.parametrize(
    ("body", "said_of_it"),
    [
        ("def f(completions):\n    return [1.0]", "gave 1 rewards for 3 answers; it must give one each"),
        ("def f(completions):\n    return 1.0", "gave a float; it must give a list of 3 numbers"),
        ("def f(completions):\n    return [0, float('nan'), 1]", "the reward nan to answer 2 of prompt"),
        ("def f(completions):\n    return [0, 1, float('inf')]", "the reward inf to answer 3 of prompt"),
        ("def f(completions):\n    return [0, 1, '1']", "the reward '1' to answer 3 of prompt"),
    ],
)
def test_what_is_no_reward_stops(tmp_path, body, said_of_it):
    with pytest.raises(WorkerError, match=said_of_it):
        of(function(tmp_path, body))


def test_files_that_cannot_be_loaded_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no such file; write it as file\.py:function"):
        FunctionReward.of(f"{tmp_path / 'none.py'}:f")
    for body, told in (
        ("def g(): ...", "has no function 'f'"),
        ("import nothing_of_the_kind", "cannot be loaded: Mod"),
    ):
        with pytest.raises(SettingsError, match=told):
            of(function(tmp_path, body))


def test_a_function_is_what_its_file_says_and_not_where_it_is(tmp_path):
    (tmp_path / "other").mkdir()
    body = "def f(completions):\n    return [0, 0, 0]"
    here, there = function(tmp_path, body), function(tmp_path / "other", body)
    assert here.content == there.content != function(tmp_path, body + "\n\n").content


@dataclass(frozen=True)
class Sum:
    name: str = "sum"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        if not response.text.isdigit():
            return Verdict(correct=None, reason="no number")
        return Verdict(correct=response.text == prompt.reference)


@dataclass(frozen=True)
class Scorer:
    def judge(self, prompts: Any, responses: Any, *, work: Any = None) -> list[Judgement]:
        told = [(0.5, ""), (None, "no score in the reply"), (2.5, "")]
        return [
            Judgement(prompt=r.prompt, responses=(r.id,), judge="j", score=score, unscored=why)
            for r, (score, why) in zip(responses, told, strict=True)
        ]


def test_checkers_and_judges_say_why_a_reward_is_missing():
    found = of(CheckerReward(checkers={"sum": Sum()}))
    assert [(r.value, r.why) for r in found] == [(1.0, ""), (0.0, ""), (None, "no number")]
    assert {r.why for r in of(CheckerReward(checkers={}))} == {"there is no checker 'sum'"}
    found = of(JudgeReward(judge=Scorer()))
    assert [(r.value, r.why) for r in found] == [(0.5, ""), (None, "no score in the reply"), (2.5, "")]


def test_a_weighted_sum_is_missing_where_a_part_is():
    check, judge = CheckerReward(checkers={"sum": Sum()}), JudgeReward(judge=Scorer())
    found = of(WeightedReward(parts=((2.0, check), (-0.5, judge))))
    assert [r.value for r in found] == [1.75, None, None]
    assert [r.why for r in found[1:]] == ["judge: no score in the reply", "checker: no number"]
    assert found[0].parts == {"checker": 1.0, "judge": 0.5} and found[1].parts == {"checker": 0.0, "judge": None}
    # of weight 0: told, and missed by nobody
    found = of(WeightedReward(parts=((2.0, check), (0.0, judge))))
    assert [r.value for r in found] == [2.0, 0.0, None] and found[1].parts["judge"] is None
    found = of(WeightedReward(parts=((1.0, judge), (1.0, judge)), standardise=True))
    assert [r.value for r in found] == [-2.0, None, 2.0] and set(found[0].parts) == {"judge", "judge_2"}


@pytest.mark.parametrize("given", [(1.0, None, 5.0), (2.0, None, 2.0)])
def test_standardised_parts_have_mean_0_and_deviation_1_over_those_there(given: tuple[float | None, ...]) -> None:
    @dataclass(frozen=True)
    class Told:
        name: str = "told"

        def rewards(self, prompts: Any, responses: Any, *, work: Any = None) -> list[Reward]:
            return [Reward(value=value, why="" if value is not None else "late") for value in given]

    found = of(WeightedReward(parts=((3.0, Told()),), standardise=True))
    there = np.array([reward.value for reward in found if reward.value is not None])
    assert found[1].value is None and found[1].why == "told: late" and found[0].parts == {"told": given[0]}
    assert there == pytest.approx([0.0, 0.0] if given[0] == given[2] else [-3.0, 3.0])
