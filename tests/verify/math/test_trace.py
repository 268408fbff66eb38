"""The equations of worked solutions."""

from __future__ import annotations

from burnish.verify.math import check_trace
from burnish.verify.math.trace import value_of
from tests.verify.math.gold import rows


def test_wrong_steps_and_where_they_stand() -> None:
    text = "She has 12 * 3 = <<12*3=36>>36 eggs, so 36 - 4 = <<36-4=31>>31 are left.\n#### 31"
    trace = check_trace(text)
    assert [step.holds for step in trace.steps] == [True, False]
    wrong = trace.wrong[0]
    assert text[wrong.start : wrong.end] == "36-4=31"
    assert wrong.why == "36-4 is 32, not 31"
    assert trace.key == ("12*3=36", "36-4=31")


def test_plain_text_and_latex() -> None:
    assert [s.holds for s in check_trace("So 12 x 3 = 36 and $\\frac{36}{4} = 9$, then 9 × 2 = 19.").steps] == [
        True,
        True,
        False,
    ]
    assert [s.holds for s in check_trace("Total: 1,200 + 34.5 = 1,234.5; 20% * 50 = 10; 2^3 = 8").steps] == [True] * 3
    assert [s.holds for s in check_trace("2 + 3 = 5 = 10 / 2").steps] == [True, True]
    # No computation by itself: symbols, a time, a name.
    assert not check_trace("x + 15 = 301, y = 3, at 10:30 = noon, 2x + 30 = 160").steps


def test_the_key_ignores_space_and_keeps_order() -> None:
    one, other = check_trace("<<1 + 2 = 3>> <<3*4=12>>"), check_trace("<<3*4=12>> <<1+2=3>>")
    assert one.key == ("1+2=3", "3*4=12")
    assert set(one.key) == set(other.key) and one.key != other.key


def test_the_tolerance_of_the_paper() -> None:
    assert check_trace("<<10/3=3.333>>").steps[0].holds is True
    assert check_trace("<<10/3=3.33>>").steps[0].holds is False
    assert check_trace("<<10/3=3.33>>", tolerance=0.01).steps[0].holds is True


def test_nothing_is_evaluated_as_code() -> None:
    for side in ("__import__('os')", "9**9**9**9", "1/0", "(" * 500, "abs", "10**5000", ""):
        assert value_of(side) is None
    trace = check_trace("<<__import__('os').getcwd()=3>>")
    assert trace.steps[0].holds is None and trace.unread == trace.steps and not trace.wrong
    assert value_of("2**10") == 1024


def test_every_annotated_equation_of_gsm8k_holds() -> None:
    count = 0
    for name in ("gsm8k/train", "gsm8k/test"):
        for row in rows(name):
            trace = check_trace(row["answer"], annotated=True)
            count += len(trace.steps)
            assert not trace.wrong and not trace.unread, (trace.wrong, trace.unread)
    assert count > 24_000


def test_planted_errors_are_found() -> None:
    planted = found = 0
    for row in rows("gsm8k/train")[:1500]:
        for step in check_trace(row["answer"], annotated=True).steps[:2]:
            value = (value_of(step.right) or 0) + 1
            planted += 1
            found += bool(check_trace(f"<<{step.left}={value.numerator}/{value.denominator}>>").wrong)
    assert found == planted > 2_500
