"""Rewards by route: each prompt names the route that its answers are rewarded by (spec: `RLItem.reward_route`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from burnish.errors import SettingsError
from burnish.protocols import Work
from burnish.records import Prompt, Response
from burnish.train.on_policy.rewards.limits import timed
from burnish.train.on_policy.rewards.reward import Reward, Rewarder

DEFAULT = ""  # the route of prompts that name none


@dataclass(frozen=True, kw_only=True)
class RoutedReward:
    """One reward for math, another for chat, ...: by what `Prompt.route` says (DeepSeek-V2 §4.2, spec D6).

    A reward is told under its route's name too, and its parts as `route_part`. Answers are compared within a prompt, so
    rewards of two routes never meet; only their mean over a round does.

    Args:
        routes: by name; the name "" serves the prompts that name no route.
    """

    routes: Mapping[str, Rewarder]
    name: str = "reward"

    def __post_init__(self) -> None:
        if not self.routes:
            raise SettingsError("a reward by routes needs at least one route")

    def within(self, seconds: float) -> RoutedReward:
        return replace(self, routes={route: timed(one, seconds) for route, one in self.routes.items()})

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        found: dict[int, Reward] = {}
        for route in dict.fromkeys(prompts[response.prompt].route for response in responses):
            places = [i for i, response in enumerate(responses) if prompts[response.prompt].route == route]
            if (rewarder := self.routes.get(route)) is None:
                said = f"there is no reward for the route {route!r}" if route else "the prompt names no route"
                found |= {place: Reward(value=None, why=said) for place in places}
                continue
            asked = {name: prompt for name, prompt in prompts.items() if prompt.route == route}
            given = rewarder.rewards(asked, [responses[place] for place in places], work=work)
            found |= zip(places, (_told(route, one) for one in given), strict=True)
        return [found[place] for place in range(len(responses))]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse prompts that no reward is meant for.

        Raises:
            SettingsError: naming the first of them.
        """
        for prompt in prompts:
            if prompt.route in self.routes:
                continue
            routes = ", ".join(filter(None, self.routes)) or "none"
            where = f"prompt {prompt.id} ({prompt.source})" if prompt.source else f"prompt {prompt.id}"
            if prompt.route:
                raise SettingsError(
                    f"{where} has the route {prompt.route!r}, and there are rewards for {routes}; add "
                    f"--reward {prompt.route}=SPEC, or one without a route for prompts that name none"
                )
            raise SettingsError(
                f"{where} names no route, and every reward has one ({routes}); give the column route, or add a "
                "--reward without a route"
            )


def _told(route: str, reward: Reward) -> Reward:
    if not route:
        return reward
    parts = {f"{route}_{name}": value for name, value in reward.parts.items()}
    return replace(reward, parts={route: reward.value, **parts})
