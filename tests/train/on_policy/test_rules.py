"""The rule reward: a share of rules, of which those that cannot be told do not count."""

from __future__ import annotations

import pytest

from burnish.records import Message, Prompt, Response
from burnish.train.on_policy import RuleReward

SPANISH = "El perro come en la casa porque tiene mucha hambre y no quiere salir con los otros perros."
ENGLISH = "The dog eats in the house because it is very hungry and does not want to go out with the others."


def worth(text: str, *, language: str = "en", finish: str = "stop", **rules: object) -> float:
    prompt = Prompt(messages=(Message(role="user", content="?"),), language=language)
    said = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),), finish=finish)
    (found,) = RuleReward(**rules).rewards({prompt.id: prompt}, [said])
    assert found.value is not None
    return found.value


def test_each_rule_costs_its_share() -> None:
    assert worth(ENGLISH) == 1.0
    assert worth(ENGLISH, finish="length") == pytest.approx(2 / 3)
    assert worth(SPANISH) == pytest.approx(2 / 3) and worth(SPANISH, language="es") == 1.0
    assert worth(ENGLISH, banned=("HUNGRY",)) == pytest.approx(3 / 4) == worth(ENGLISH, most=20)
    assert worth("It is so. " * 30) < 1.0


def test_a_language_that_cannot_be_told_does_not_count() -> None:
    assert worth("42") == 1.0 == worth(ENGLISH, language="") == worth(ENGLISH, language="no such")
    assert worth("") == pytest.approx(1 / 2)
