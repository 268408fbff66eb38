"""`burnish run --reward NAME=SPEC`: rewards of a recipe from outside, and whether anybody else is needed."""

from __future__ import annotations

from typing import Any

from burnish.errors import SettingsError


def group(prompt: Any) -> str:
    """What routes a prompt: its ability, else its checker's name."""
    return prompt.ability or prompt.checker


def given_rewards(module: Any, asked: Any, prompts: list[Any]) -> dict[str, Any]:
    """Rewards from outside, by the recipe's names for them.

    Raises:
        SettingsError: a recipe that takes none, a name it does not know, or no reward.
    """
    from burnish.cli.fresh.rewards import rewarder_of
    from burnish.runs import nearest

    known, found = getattr(module, "REWARDS", ()), {}
    for pair in asked.rewards:
        name, sign, spec = pair.partition("=")
        if not known:
            raise SettingsError(f"--reward {pair}: {module.__name__.rpartition('.')[2]} takes no reward from outside")
        if not sign or name not in known:
            told = (
                f"{name!r} is none of {', '.join(known)}; {nearest(name, known)}" if sign else "write it as NAME=SPEC"
            )
            raise SettingsError(f"--reward {pair}: {told}")
        if name in found:
            raise SettingsError(f"--reward {name}=... is given twice; write the weighted sum as a function of your own")
        mine = [p for p in prompts if (group(p) in module.REASONING) == (name == "reasoning")]
        found[name] = rewarder_of([spec], mine or prompts)
    return found


def needs_annotator(module: Any, asked: Any, settings: Any, prompts: list[Any], rewards: dict[str, Any]) -> bool:
    """Whether anybody has to compare answers. Of a recipe with rewards: those to prompts that are not reasoning."""
    if not rewards and not hasattr(module, "REWARDS"):
        return True
    if asked.annotator or not asked.prompts:
        return True
    if not settings.preference_rounds or {"helpful", "safety"} <= rewards.keys():
        return False
    count = sum(group(prompt) not in module.REASONING for prompt in prompts)
    if count:
        raise SettingsError(
            f"{count} prompts are none of {', '.join(module.REASONING)}, and nobody compares answers to them: give "
            "--annotator, or --reward helpful=... and --reward safety=..., or --set preference_rounds=0"
        )
    return False
