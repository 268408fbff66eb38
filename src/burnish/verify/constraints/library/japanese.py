"""The Japanese types of M-IFEval: kinds of letters, readings, numerals, how sentences end."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from burnish.verify.constraints.kind import Constraint, Demands, Kwargs
from burnish.verify.constraints.library.build import TEXT, counted, written
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import japanese as rules

HIRAGANA = ("かわはながいです。", "うみがみえます。", "ふゆはさむい。")
KATAKANA = ("カワハナガイデス。", "ウミガミエマス。", "フユハサムイ。")
KANJI = ("川石窓庭", "音楽紙雲", "冬橋本海町")
READINGS = ("川（かわ）はながい。", "海（うみ）がみえる。", "音楽（おんがく）がすきです。")
_LETTERS = r"[^\W\d_]"


def japanese_kinds(at: Locale) -> list[Constraint]:
    """Everything under `ja:letters:` and the two rules on sentence endings."""
    return [
        _letters(at, "hiragana_only", rules.only_hiragana, HIRAGANA, (*KATAKANA, "うみと山。", "うみa。"),
                 without=f"(?![ぁ-んー]){_LETTERS}", only="hiragana", rule="no letter but hiragana and ー"),
        _letters(at, "katakana_only", rules.only_katakana, KATAKANA, (*HIRAGANA, "ウミト山。", "ウミb。"),
                 without=f"(?![ァ-ンーｦ-ﾟ]){_LETTERS}", only="katakana", rule="no letter but katakana and ー"),
        _letters(at, "no_hiragana", lambda text: not rules.has_hiragana(text), (*KATAKANA, *KANJI),
                 (*HIRAGANA, "海ト山ゖ"), without="[ぁ-ゖ]", rule="no hiragana"),
        _letters(at, "no_katakana", lambda text: not rules.has_katakana(text), (*HIRAGANA, *KANJI),
                 (*KATAKANA, "うみヺ", "うみｶ"), without="[ァ-ヺｦ-ﾟ]", rule="no katakana, wide or narrow"),
        _letters(at, "furigana", rules.has_readings, READINGS, ("川（かわ）と海。", "川（カワ）。", "川(かわ)。"),
                 rule="every run of kanji has hiragana in （） after it"),
        _letters(at, "kansuuji", lambda text: not rules.has_digit(text), ("本が三つあります。", "町に橋が十あります。"),
                 ("本が3つあります。", "橋が５つあります。"), without=r"\d", rule="no digit, Western or wide"),
        _kanji(at), _nominal(at), _unified(at),
    ]  # fmt: skip


def _letters(
    at: Locale,
    name: str,
    holds: Callable[[str], bool],
    good: tuple[str, ...],
    bad: tuple[str, ...],
    *,
    without: str = "",
    only: str = "",
    rule: str,
) -> Constraint:
    return written(
        at,
        f"letters:{name}",
        check=lambda text, kwargs: holds(text),
        comply=lambda kwargs, rng: rng.choice(good) + rng.choice(good),
        violate=lambda kwargs, rng: rng.choice(good) + rng.choice(bad),
        demands=lambda kwargs: Demands(without=without, only=only),
        rule=rule,
    )


def _kanji(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return "".join(rng.choices("川石窓庭紙雲冬橋", k=count)) + "です。"

    return counted(
        at,
        "letters:kanji",
        n="kanji_limit",
        quantity="kanji",
        count=lambda text, kwargs: rules.kanji_count(text),
        build=build,
        sample=lambda rng: {"kanji_limit": rng.randint(5, 60)},
        rule="characters from U+4E00 to U+9FAF",
    )


def _nominal(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        ends = [rng.choice(("とても長い川", "大切なこと", "楽しいゲーム", "静かなタワー")) for _ in range(count)]
        return "。".join([*ends, "海が見えます"]) + "。"

    return counted(
        at,
        "detectable_format:nominal_ending",
        n="count",
        fixed=at.more,
        quantity="nominal endings",
        count=lambda text, kwargs: rules.nominal_endings(text),
        build=build,
        sample=lambda rng: {"count": rng.randint(1, 4)},
        rule="sentences and lines that end in kanji, katakana or one of twelve nouns in hiragana (ASSUMED)",
    )


def _unified(at: Locale) -> Constraint:
    def sentences(kwargs: Kwargs, rng: Random) -> list[str]:
        return [at.join(at.fill(rng, 2)) + kwargs["ending"] + rng.choice("。！？") for _ in range(3)]

    def violate(kwargs: Kwargs, rng: Random) -> str:
        parts = sentences(kwargs, rng)
        parts.insert(rng.randrange(3), f"{at.join(at.fill(rng, 2))}だよね。")
        return "".join(parts)

    return written(
        at,
        "startend:sentence_unified_end",
        kwargs={"ending": TEXT},
        check=lambda text, kwargs: rules.all_end_in(text, kwargs["ending"]),
        comply=lambda kwargs, rng: "".join(sentences(kwargs, rng)),
        violate=violate,
        sample=lambda rng: {"ending": rng.choice(("です", "ます", "ました"))},
        demands=lambda kwargs: Demands(
            says=(kwargs["ending"],),
            counts={} if rules.nominal_endings(kwargs["ending"]) else {"nominal endings": (0, 0)},
        ),
        rule="every sentence and line, without what stands in quotes, ends so",
    )
