import gzip
import json
import os
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.records import Message, Prompt, Response
from burnish.verify import CHECKERS, MathChecker, final_number, get_checker

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("BURNISH_DATA", ROOT.parent / "shared" / "data"))


def rows(name: str) -> list[dict]:
    path = DATA / "gsm8k" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds gsm8k/{name}.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def verdict(reference: str, text: str):
    prompt = Prompt(messages=(Message(role="user", content="?"),), checker="math", reference=reference)
    response = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
    return MathChecker().check(prompt, response)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6 * 7 = 42\n#### 42", 42),
        ("#### 1,234,567", 1234567),
        ("#### -7", -7),
        ("#### $12.50", Fraction(25, 2)),
        ("####12 apples", 12),
        ("#### 3/4", Fraction(3, 4)),
        ("#### Step 1\nAdd.\n\nThe answer is 9.", 9),
        ("#### 1. Add\nso 4 + 4\nAnswer: 8", 8),
        ("so \\boxed{72}. Check: 3", 72),
        ("$\\boxed{\\frac{3}{4}}$", Fraction(3, 4)),
        ("\\boxed{x = -\\dfrac{1}{2}} in 3 steps", Fraction(-1, 2)),
        ("\\boxed{1{,}000}", 1000),
        ("The answer is 5 + 3 = 8.", 8),
        ("The answer is 8, because 3 + 5 is 8 and not 9", 8),
        ("**Answer:** 15 minutes of 60", 15),
        ("A: 18", 18),
        ("Die Antwort ist 12. Das sind 3 mehr als 9.", 12),
        ("答案是 35。因为 40 减 5", 35),
        ("The final answer is $-5$.", -5),
        ("It costs -$5", -5),
        ("It costs $-5", -5),
        ("48 - 24", 24),
        ("48-24", 24),
        ("about 50%", 50),
        ("2 1/2 cups", Fraction(5, 2)),
        ("a half, .5", Fraction(1, 2)),
        ("on 3/4/2020", 2020),
        ("first 7, then the 3rd", 7),
        ("It is 5.", 5),
        ("１２３", 123),
        ("\u22125", -5),
        ("10 / 0", None),  # a fraction over nothing is no number
        ("none", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_reads_the_final_number(text, value):
    assert final_number(text) == value


def test_order_of_conventions():
    assert final_number("answer is 3\n\\boxed{2}\n#### 1\nthen 4") == 1
    assert final_number("answer is 3\n\\boxed{2}\nthen 4") == 2
    assert final_number("the answer is 3\nthen 4") == 3
    assert final_number("The answer is 3. No: the answer is 6. I used 2.") == 6


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="#\\boxed{}frac/0123456789.,-+$%= answeris:\n", max_size=80)))
def test_never_raises(text):
    value = final_number(text)
    assert value is None or isinstance(value, Fraction)
    assert verdict("1", text).correct in (True, False, None)
    assert verdict(text, "1").correct in (True, False, None)


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_reads_what_was_written(number, style):
    text = [f"{number}", f"{number:,}", f"#### {number:,}", f"the answer is {number:,}."][style]
    assert final_number(text) == number


@pytest.mark.parametrize("name", ["train", "test"])
def test_gsm8k_gold_is_right_and_planted_errors_are_wrong(name):
    for index, row in enumerate(rows(name)):
        solution, _, gold = row["answer"].rpartition("####")
        number = int(gold.replace(",", ""))
        reference = gold.strip()
        assert verdict(reference, row["answer"]).correct is True, row
        digits = str(abs(number))
        swapped = int(digits[1] + digits[0] + digits[2:]) if len(digits) > 1 else number
        wrong = [value for value in (number + 1, number - 1, swapped, -number) if value != number]
        assert not {final_number(f"#### {value}") for value in wrong} & {final_number(reference)}, row
        planted = wrong[index % len(wrong)]
        text = (f"{solution}#### {planted}", f"{solution}The answer is {planted:,}.")[index % 2]
        assert verdict(reference, text).correct is False, (row, planted)


def test_agrees_with_the_published_verdicts_on_model_solutions():
    agree = total = 0
    for row in rows("model_solutions"):
        for author in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            total += 1
            agree += verdict(row["ground_truth"], row[author]["solution"]).correct is row[author]["is_correct"]
    assert agree == total, f"{agree} of {total}"


def test_unscored_and_silence():
    assert verdict("no gold", "#### 3").correct is None
    assert verdict("3", "I cannot tell").correct is False


def test_registry():
    assert get_checker("math") is CHECKERS["math"]
    with pytest.raises(ValueError, match="did you mean 'constraints'"):
        get_checker("constraint")


@pytest.mark.parametrize(
    ("name", "column", "least"), [("svamp", "Answer", 470), ("asdiv", "answer", 950), ("cmath", "answer", 270)]
)
def test_numeric_gold_of_other_sets_in_every_convention(name, column, least):
    path = DATA / "maths" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds maths/{name}.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        golds = [str(json.loads(line)[column]) for line in lines]
    # "14 (apples)" is a number with its unit; pairs, ratios and times are not this checker's.
    numeric = [found.group(1) for gold in golds if (found := re.fullmatch(r"(-?[\d,]*\.?\d+)(?: \([^\d)]*\))?", gold))]
    assert len(numeric) >= least
    for gold in numeric:
        wrong = str(Fraction(gold.replace(",", "")) + 1)
        for form in (
            "{}",
            "#### {}",
            "\\boxed{{{}}}",
            "2 + 2 = 4, so the answer is {}.",
            "Answer: ${} (check: 7)",
            "答案：{}。",
        ):
            assert verdict(gold, form.format(gold)).correct is True, (gold, form)
            assert verdict(gold, form.format(wrong)).correct is False, (gold, form)
