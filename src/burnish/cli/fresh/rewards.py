"""`--reward`: from words to what an answer is worth.

math               a checker, a reward model folder, a judge's URL, file.py:function
math*0.5           weighed; several words are summed
chat=runs/rm*0.5   for the prompts of a route (column `route`) alone
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError

_ROUTE = re.compile(r"([A-Za-z][\w-]*)=(.+)")


def rewarder_of(specs: Sequence[str], prompts: Sequence[Any]) -> Any:
    """What answers are worth, from words such as `math`, `reward-model/*0.5` and `chat=rewards.py:short`.

    Raises:
        SettingsError: a word that is none of what there is, a checker for prompts that have no reference, a route that
            no prompt has, or a prompt that no reward is meant for.
    """
    from burnish.train.on_policy import RoutedReward

    words: dict[str, list[str]] = {}
    for spec in specs:
        found = _ROUTE.fullmatch(spec)
        words.setdefault(found[1] if found else "", []).append(found[2] if found else spec)
    if set(words) == {""}:
        return _summed(specs, prompts)
    routes = {}
    for route, told in words.items():
        mine = [prompt for prompt in prompts if prompt.route == route]
        if not mine:
            meant = f"--reward {route}={told[0]}: no prompt has the route {route!r}"
            raise SettingsError(f"{meant if route else f'--reward {told[0]}: every prompt has a route'}; the prompts' "
                                f"column route holds {_held(prompts)}")  # fmt: skip
        routes[route] = _summed(told, mine)
    routed = RoutedReward(routes=routes)
    routed.check(prompts)
    return routed


def columns_of(specs: Sequence[str]) -> set[str] | None:
    """The columns of the data that the functions among the words have parameters for; None where one takes any."""
    from burnish.train.on_policy import FunctionReward

    found: set[str] = set()
    for spec in specs:
        told = _ROUTE.fullmatch(spec)
        word = _weighed(told[2] if told else spec)[1]
        if ".py:" in word:
            wanted = FunctionReward.of(word).columns
            if wanted is None:
                return None
            found |= wanted
    return found


def _held(prompts: Sequence[Any]) -> str:
    return ", ".join(sorted({prompt.route for prompt in prompts if prompt.route})) or "nothing"


def _summed(specs: Sequence[str], prompts: Sequence[Any]) -> Any:
    from burnish.train.on_policy import WeightedReward

    parts = [_weighted(spec, prompts) for spec in specs]
    if not any(weight for weight, _ in parts):
        raise SettingsError("--reward: every reward has the weight 0, so no answer is better than another")
    if len(parts) == 1 and parts[0][0] == 1.0:
        return parts[0][1]
    return WeightedReward(parts=tuple(parts))


def _weighed(spec: str) -> tuple[float, str]:
    """(weight, word) of `word*weight`."""
    word, mark, share = spec.rpartition("*")
    try:
        weight = float(share) if mark else 1.0
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise SettingsError(f"--reward {spec}: the weight after * is no number")
    return weight, word if mark else spec


def _weighted(spec: str, prompts: Sequence[Any]) -> tuple[float, Any]:
    from burnish import microworld
    from burnish.cli.workers import Asked, policy_weights, server_of
    from burnish.judge import Quality, RewardModel
    from burnish.runs import nearest
    from burnish.train.on_policy import CheckerReward, FunctionReward, JudgeReward, StepModelReward, scores_steps
    from burnish.verify import CHECKERS

    weight, word = _weighed(spec)
    if asker := server_of(word, Asked()):
        return weight, JudgeReward(judge=Quality(asker=asker))
    if (Path(word) / "config.json").exists() or (Path(word) / "run.json").exists():
        weights = policy_weights(word)
        if scores_steps(weights.path):
            return weight, StepModelReward(weights=weights)
        return weight, JudgeReward(judge=RewardModel(weights=weights), name="reward_model")
    if ".py:" in word:
        function = FunctionReward.of(word)
        function.check(prompts)  # a file that cannot be loaded is refused too, before anything is sampled
        return weight, function
    checkers = {**CHECKERS, **microworld.checkers()}
    if word.endswith(".py"):
        raise SettingsError(f"--reward {word} does not say which function; write it as {word}:function")
    if "/" in word and word not in checkers:
        raise SettingsError(f"--reward {word}: there is no such folder of a reward model, or it has no config.json")
    if word != "checker" and word not in checkers:
        raise SettingsError(
            f"--reward {word} is no checker, no reward model folder, no server and no file.py:function; "
            f"{nearest(word, ['checker', *checkers])}"
        )
    if not any(prompt.reference for prompt in prompts):
        raise SettingsError(f"--reward {word} needs reference answers, and none of the {len(prompts)} prompts has one")
    named = ({prompt.checker for prompt in prompts} | {word}) & set(checkers)
    if not named:
        raise SettingsError(
            f"--reward checker asks the checker that a prompt names, and none of the {len(prompts)} prompts names one "
            "that there is; give the checker's own name, such as --reward math"
        )
    found = {name: checkers[name] for name in sorted(named)}
    return weight, CheckerReward(checkers=found, default="" if word == "checker" else word, name=word)
