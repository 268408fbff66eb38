"""Rule cleaning (Llama 3 §4.2.3; specification §3.9): over-used patterns are dropped, rewritten, or capped to a share.

The patterns the report names are too many emojis, too many exclamation marks and over-apology; the shares, and the
algorithm that reaches them, are ASSUMED.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from burnish.errors import SettingsError
from burnish.protocols import Work
from burnish.records import Demonstration, Dropped, dropped
from burnish.runs import Outcome

ACTIONS = ("drop", "rewrite", "cap")
MAX_PASSES = 20  # ASSUMED: passes beyond one for each row, after which rules count as undoing each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A detector: the regular expression stands at least `least` times in the text."""

    regex: str
    least: int = 1

    def __call__(self, text: str) -> bool:
        found = re.finditer(self.regex, text, re.IGNORECASE)
        return any(count >= self.least for count, _ in enumerate(found, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is over-used, and what to do about it.

    Args:
        name: stands in the reason of each drop.
        detector: text of an answer -> whether it matches.
        action: `drop` all matches, `rewrite` them, or `cap` their share of the rows.
        share: for cap: the target share t in 0 <= t < 1.
        rewrite: for rewrite: text -> text. A row whose text is then blank, or matches still, is dropped.
    """

    name: str
    detector: Callable[[str], bool]
    action: str
    share: float | None = None
    rewrite: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise SettingsError(f"rule {self.name!r}: the action is one of {', '.join(ACTIONS)}, not {self.action!r}")
        if self.action == "cap" and not (self.share is not None and 0 <= self.share < 1):
            raise SettingsError(f"rule {self.name!r}: a cap needs a share from 0 to below 1, not {self.share}")
        if self.action == "rewrite" and self.rewrite is None:
            raise SettingsError(f"rule {self.name!r}: a rewrite needs the function that rewrites")


# Pictographs, dingbats, flags, and the joiners inside composed emojis do not count by themselves.
EMOJI = "[\U0001f300-\U0001faff\U0001f1e6-\U0001f1ff\u2600-\u27bf]"
APOLOGY = r"\bI(?:['\u2019]m| am) (?:so |very |really )?sorry\b|\bI apologi[sz]e\b|\bmy apologies\b"


def pattern_rules(
    *, emoji: float | None = None, exclamation: float | None = None, apology: float | None = None
) -> tuple[Rule, ...]:
    """The three patterns of §3.9 as caps with the given target shares; None leaves a rule out.

    §6 proposes 3 % for emojis, 3 % for more than two exclamation marks and 1 % for apologies (ASSUMED, all three).
    """
    patterns = (
        ("emoji", Pattern(regex=EMOJI), emoji),
        ("exclamation marks", Pattern(regex="!", least=3), exclamation),
        ("apology", Pattern(regex=APOLOGY), apology),
    )
    return tuple(
        Rule(name=name, detector=detector, action="cap", share=share)
        for name, detector, share in patterns
        if share is not None
    )


def cap(unmatched: int, share: float) -> int:
    """floor(t N_u / (1 - t)): how many matched rows may stand beside N_u unmatched ones so that their share is <= t.

    Exact: t is taken as the decimal that is written (0.1 is one tenth, not its nearest binary fraction).
    """
    t = Fraction(repr(float(share)))
    return math.floor(t * unmatched / (1 - t))


def answer_text(row: Demonstration) -> str:
    """What the assistant says in the target, all of its messages."""
    return "\n".join(message.content for message in row.response if message.role == "assistant")


def _rewritten(row: Demonstration, rule: Rule) -> Demonstration | None:
    """The row with each assistant message rewritten; None when the rule has not mended it."""
    messages = tuple(replace(m, content=rule.rewrite(m.content)) if m.role == "assistant" else m for m in row.response)
    new = replace(row, response=messages, parents=(row.id, *row.parents), id="")
    return None if not answer_text(new).strip() or rule.detector(answer_text(new)) else new


def _lowest_first(row: Demonstration) -> tuple[bool, float, str]:
    """Rows without a score go first (nothing speaks for them, ASSUMED), then the lowest score, ties by id."""
    return (row.score is not None, row.score if row.score is not None else 0.0, row.id)


def _apply(rows: Sequence[Demonstration], rule: Rule, left: list[Dropped]) -> list[Demonstration]:
    matched = [row for row in rows if rule.detector(answer_text(row))]
    if rule.action == "drop":
        left += [dropped(row, f"rule: {rule.name}") for row in matched]
        gone = {row.id for row in matched}
        return [row for row in rows if row.id not in gone]
    if rule.action == "cap":
        room = cap(len(rows) - len(matched), rule.share or 0.0)
        surplus = sorted(matched, key=_lowest_first)[: max(len(matched) - room, 0)]
        left += [dropped(row, f"rule: {rule.name}", f"over the share of {rule.share:g}") for row in surplus]
        gone = {row.id for row in surplus}
        return [row for row in rows if row.id not in gone]
    kept, ids = [], {row.id for row in matched}
    for row in rows:
        new = _rewritten(row, rule) if row.id in ids else row
        if new is None:
            left.append(dropped(row, f"rule: {rule.name}", "rewriting did not mend it"))
        else:
            kept.append(new)
    return kept


def _distinct(rows: Sequence[Demonstration], left: list[Dropped]) -> list[Demonstration]:
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row.id in seen:
            left.append(dropped(row, "duplicate"))
        else:
            kept.append(row)
        seen.add(row.id)
    return kept


def clean(demonstrations: Sequence[Demonstration], *, rules: Sequence[Rule], work: Work | None = None) -> Outcome:
    """Apply the rules in their order, again and again until none changes anything.

    After the end every capped pattern has at most its share, so cleaning the result changes nothing. Rows that no
    rule matches go through as they are. Matched rows go in the order of their reward, the lowest first.

    Raises:
        SettingsError: the rules undo each other's rewrites for ever.
    """
    left: list[Dropped] = []
    rows = _distinct(demonstrations, left)
    before = {rule.name: sum(rule.detector(answer_text(row)) for row in rows) for rule in rules}
    # Every pass but the last drops or rewrites a row; drops alone end after as many passes as there are rows.
    for _ in range(MAX_PASSES + len(rows)):
        old = [row.id for row in rows]
        for rule in rules:
            rows = _apply(rows, rule, left)
        if [row.id for row in rows] == old:
            break
    else:
        raise SettingsError(f"the rules {', '.join(rule.name for rule in rules)} undo each other's rewrites")
    after = {rule.name: sum(rule.detector(answer_text(row)) for row in rows) for rule in rules}
    table = {
        rule.name: {
            "matched": before[rule.name],
            "kept": after[rule.name],
            "share": after[rule.name] / len(rows) if rows else 0.0,
            "target": rule.share,
        }
        for rule in rules
    }
    return Outcome(rows=rows, dropped=left, taken=len(demonstrations), metrics={"rules": table})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """The first words of answers, how often they open one, and how far they are over-used.

    `log_odds` is ours against the reference, `z` the same in standard deviations.
    """

    words: str
    count: int
    reference: int
    log_odds: float
    z: float


def _opening(text: str, length: int) -> str:
    return " ".join(re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", text.lower())[:length])


def openers(
    texts: Sequence[str], reference: Sequence[str], *, lengths: Sequence[int] = (1, 2, 3), least: int = 2
) -> list[Opener]:
    """First n words of answers, the most over-used against a reference (people's texts) first.

    z of the log-odds ratio under a flat prior (Monroe, Colaresi, Quinn 2008, doi:10.1093/pan/mpn018, eq. 16 and 20,
    with 0.5 added to each count): log odds alone would put words that came once on top.

    Args:
        lengths: the n.
        least: an opener that opens fewer of the texts is left out.
    """
    found = []
    for length in lengths:
        ours = Counter(_opening(text, length) for text in texts)
        theirs = Counter(_opening(text, length) for text in reference)
        for words, count in ours.items():
            if count < least or len(words.split()) < length:
                continue
            a, b = count + 0.5, len(texts) - count + 0.5
            c, d = theirs[words] + 0.5, len(reference) - theirs[words] + 0.5
            odds = math.log(a / b) - math.log(c / d)
            deviation = math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
            found.append(Opener(words=words, count=count, reference=theirs[words], log_odds=odds, z=odds / deviation))
    return sorted(found, key=lambda opener: (-opener.z, -len(opener.words), opener.words))
