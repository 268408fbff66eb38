"""Language and script of a text, and how much of it is in another one (Llama 3 report §4.3.3; spec llama3 §3.12).

The script is counted. Where one script serves several languages, frequent words, letters of one language only, and a
few word endings decide (`languages.json`, written for this project). It knows 43 languages, and Hindi in Latin
letters; it is meant for answers of a line or more, and says that it cannot tell rather than guess.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response

# First code point, last code point, ISO 15924 code. `Kana` becomes `Jpan` or `Hani` below.
_BLOCKS = (
    (0x41, 0x5A, "Latn"), (0x61, 0x7A, "Latn"), (0xAA, 0xAA, "Latn"), (0xBA, 0xBA, "Latn"), (0xC0, 0x24F, "Latn"),
    (0x370, 0x3FF, "Grek"), (0x400, 0x52F, "Cyrl"), (0x530, 0x58F, "Armn"), (0x590, 0x5FF, "Hebr"),
    (0x600, 0x77F, "Arab"), (0x8A0, 0x8FF, "Arab"), (0x900, 0x97F, "Deva"), (0x980, 0x9FF, "Beng"),
    (0xA00, 0xA7F, "Guru"), (0xA80, 0xAFF, "Gujr"), (0xB00, 0xB7F, "Orya"), (0xB80, 0xBFF, "Taml"),
    (0xC00, 0xC7F, "Telu"), (0xC80, 0xCFF, "Knda"), (0xD00, 0xD7F, "Mlym"), (0xD80, 0xDFF, "Sinh"),
    (0xE00, 0xE7F, "Thai"), (0xE80, 0xEFF, "Laoo"), (0xF00, 0xFFF, "Tibt"), (0x1000, 0x109F, "Mymr"),
    (0x10A0, 0x10FF, "Geor"), (0x1100, 0x11FF, "Kore"), (0x1200, 0x137F, "Ethi"), (0x1780, 0x17FF, "Khmr"),
    (0x1E00, 0x1EFF, "Latn"), (0x1F00, 0x1FFF, "Grek"), (0x3041, 0x30FF, "Kana"), (0x3130, 0x318F, "Kore"),
    (0x31F0, 0x31FF, "Kana"), (0x3400, 0x4DBF, "Hani"), (0x4E00, 0x9FFF, "Hani"), (0xAC00, 0xD7AF, "Kore"),
    (0xF900, 0xFAFF, "Hani"), (0xFB50, 0xFDFF, "Arab"), (0xFE70, 0xFEFF, "Arab"), (0xFF21, 0xFF5A, "Latn"),
    (0xFF66, 0xFF9F, "Kana"), (0x20000, 0x2FFFF, "Hani"),
)  # fmt: skip
_STARTS = [first for first, _, _ in _BLOCKS]
_APART = re.compile(r"[\s\d.,;:!?\"'“”‘’()\[\]{}<>*#_/|—–\-…।॥،؛؟«»¿¡。，、！？：；（）「」『』・~`=+&%$@\\^]+")
_SEGMENT = re.compile(r"[\n.!?。！？।؟]+")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
KANA_SHARE = 0.1  # of kana among kana and Chinese characters, from which a text is Japanese (ASSUMED)
ENDING_WEIGHT = 0.4  # a word ending against a frequent word (ASSUMED)
LETTER_WEIGHT = 0.5  # a letter of one language only against a frequent word (ASSUMED)
LEAST_EVIDENCE = 0.02  # frequent words per word, below which the language is not told (ASSUMED)
SURE = 0.5  # lead over the second language, from which a sentence counts as foreign (ASSUMED)
PROSE = 5  # words beside fenced code, from which they alone count (ASSUMED)
FOREIGN_WORDS = 5  # words that a sentence needs to count as foreign (ASSUMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What a text is written in.

    Args:
        code: ISO 639-1; empty when it cannot be told.
        script: ISO 15924 (`Jpan`, `Kore` and `Hani` for Japanese, Korean and Chinese); empty without letters.
        lead: of the evidence, how far the second language lies behind, 0 to 1; 1 where the script alone decides.
    """

    code: str
    script: str
    lead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One language: `words` it uses often, `letters` and `endings` that speak for it, a `sample` of its prose
    (Universal Declaration of Human Rights, article 1, where there is one)."""

    code: str
    name: str
    script: str
    words: frozenset[str]
    letters: frozenset[str]
    endings: tuple[str, ...]
    sample: str


@cache
def profiles() -> Mapping[str, Profile]:
    """The languages that can be told, by code (`hi-Latn` is Hindi in Latin letters)."""
    rows = json.loads(Path(__file__).with_name("languages.json").read_text(encoding="utf-8"))
    return {
        key: Profile(
            code=key.split("-")[0], name=row["name"], script=row["script"], sample=row["sample"],
            words=frozenset(row["words"].split()), letters=frozenset(row["letters"]),
            endings=tuple(row["endings"].split()),
        )
        for key, row in rows.items()
    }  # fmt: skip


@cache
def _shared(script: str) -> tuple[dict[str, Profile], Counter[str], Counter[str]]:
    """The languages of a script, and how many of them list a word or a letter."""
    among = {key: profile for key, profile in profiles().items() if profile.script == script}
    words = Counter(word for profile in among.values() for word in profile.words)
    letters = Counter(letter for profile in among.values() for letter in profile.letters)
    return among, words, letters


def _script(letter: str) -> str:
    point = ord(letter)
    at = bisect_right(_STARTS, point) - 1
    if at < 0 or point > _BLOCKS[at][1] or not (letter.isalpha() or unicodedata.category(letter)[0] == "M"):
        return ""
    return _BLOCKS[at][2]


def scripts(text: str) -> dict[str, float]:
    """The share of the letters that each script has, most first; empty without letters."""
    counts: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        if script := _script(letter):
            counts[script] += count
    kana, chinese = counts.pop("Kana", 0), counts.pop("Hani", 0)
    if kana + chinese:
        counts["Jpan" if kana >= KANA_SHARE * (kana + chinese) else "Hani"] = kana + chinese
    total = counts.total()
    return {script: count / total for script, count in counts.most_common()}


def words_of(text: str) -> list[str]:
    """What stands between blanks, digits and marks, in small letters."""
    return [word for word in _APART.split(text.lower()) if word]


def detect_language(text: str) -> Language:
    """The language and script that most of the text is in; fenced code is left out where there is prose too."""
    prose = _CODE.sub(" ", text)
    text = prose if len(words_of(prose)) >= PROSE else text
    script = next(iter(scripts(text)), "")
    among, shared_words, shared_letters = _shared(script)
    if len(among) < 2:
        code = next(iter(among.values())).code if among else ""
        return Language(code=code, script=script, lead=1.0 if code else 0.0)
    words, letters = Counter(words_of(text)), Counter(text.lower())
    evidence = {
        key: sum(n / shared_words[word] for word, n in words.items() if word in profile.words)
        + LETTER_WEIGHT * sum(letters[letter] / shared_letters[letter] for letter in profile.letters)
        + ENDING_WEIGHT * sum(n for word, n in words.items() if profile.endings and word.endswith(profile.endings))
        for key, profile in among.items()
    }
    first, second = sorted(evidence, key=lambda key: -evidence[key])[:2]
    if evidence[first] <= LEAST_EVIDENCE * words.total() or evidence[first] == evidence[second]:
        return Language(code="", script=script, lead=0.0)
    lead = (evidence[first] - evidence[second]) / evidence[first]
    return Language(code=among[first].code, script=script, lead=lead)


def usual_script(code: str) -> str:
    """The script that a language is written in.

    Raises:
        DataError: the language is none of the known ones.
    """
    if code not in profiles() or "-" in code:
        known = ", ".join(key for key in profiles() if "-" not in key)
        raise DataError(f"there is no profile of the language {code!r}; known: {known}")
    return profiles()[code].script


# Chinese: the usual characters of a region. Any other region changes nothing that can be told here.
_CHINESE = {"CN": "Hans", "SG": "Hans", "MY": "Hans", "TW": "Hant", "HK": "Hant", "MO": "Hant"}
_VARIANTS = {"Hang": "Kore", "Hira": "Jpan", "Kana": "Jpan"}


def read_tag(tag: str) -> tuple[str, str]:
    """(code, script) of a language tag (BCP 47): `en`, `pt-BR`, `zh-Hant`, `zh_TW`, `hi-Latn`; or of an English name.

    Case does not matter. A region decides between traditional (`Hant`) and simplified (`Hans`) Chinese, and nothing
    else: Brazilian and European Portuguese are one language here. The script is empty when the tag has none.

    Raises:
        DataError: the language is none of the known ones, or a part of the tag is neither script nor region.
    """
    names = {profile.name.lower(): key for key, profile in profiles().items() if "-" not in key}
    names |= {"simplified chinese": "zh-Hans", "traditional chinese": "zh-Hant"}
    first, *more = re.split(r"[-_]", names.get(tag.strip().lower(), tag.strip()))
    code, script = first.lower(), ""
    usual_script(code)
    for at, part in enumerate(more):
        if re.fullmatch(r"[A-Za-z]{4}", part) and at == 0:
            script = part.title()
            if script not in (*known_scripts(), *_VARIANTS):
                raise DataError(f"there is no script {part!r} here (in {tag!r}); known: {', '.join(known_scripts())}")
        elif re.fullmatch(r"[A-Za-z]{2}|\d{3}", part) and at == len(more) - 1:
            script = script or (_CHINESE.get(part.upper(), "") if code == "zh" else "")
        else:
            raise DataError(f"{part!r} in {tag!r} is no script and no region; write a tag such as pt-BR or zh-Hant")
    return code, _VARIANTS.get(script, script)


def known_scripts() -> list[str]:
    """The scripts that a tag may name."""
    return sorted({name for _, _, name in _BLOCKS if name != "Kana"} | {"Jpan", "Hans", "Hant"})


def chinese_characters(text: str) -> str:
    """`Hans` or `Hant`, whichever more of the characters speak for; empty when they speak for neither.

    A character of GB 2312 (1980, simplified) that is not in Big5 (1984, traditional) is simplified, and the reverse.
    """
    simplified = traditional = 0
    for letter, count in Counter(text).items():
        if _script(letter) == "Hani":
            held = [_encodes(letter, standard) for standard in ("gb2312", "big5")]
            simplified += count * (held == [True, False])
            traditional += count * (held == [False, True])
    if simplified == traditional:
        return ""
    return "Hans" if simplified > traditional else "Hant"


def _encodes(letter: str, standard: str) -> bool:
    try:
        return bool(letter.encode(standard))
    except UnicodeEncodeError:
        return False


def is_language(text: str, code: str, script: str = "") -> bool | None:
    """Whether the text is in this language and script (its usual one when none is given); None: cannot be told.

    Another script is always a no: a Devanagari reply to a prompt in romanised Hindi (§3.12) is one. `Hans` and `Hant`
    are told by characters that only one of them has. A language in a script that no profile has for it, such as
    Serbian in Latin letters, cannot be told from others in that script.

    Raises:
        DataError: the language is none of the known ones.
    """
    found, usual = detect_language(text), usual_script(code)
    if not found.script:
        return None
    if found.script != ("Hani" if script in ("Hans", "Hant") else script or usual):
        return False
    if script in ("Hans", "Hant") and code == "zh":
        kind = chinese_characters(text)
        return kind == script if kind else None
    if not any(profile.code == code and profile.script == found.script for profile in profiles().values()):
        return None
    return found.code == code if found.code else None


def code_switching(text: str, code: str, script: str = "") -> float:
    """The share of the text that is in another language or script, 0 to 1.

    Units are words, and single characters of Chinese and Japanese. A word in another script is foreign; in one script
    a sentence of five words or more that is surely in another language is (ASSUMED: the report gives no measure).

    Raises:
        DataError: the language is none of the known ones.
    """
    script = "Hani" if script in ("Hans", "Hant") else script or usual_script(code)
    units = foreign = 0
    for segment in _SEGMENT.split(text):
        own = other = 0
        for word in words_of(segment):
            kinds = Counter(kind for kind in map(_script, word) if kind)
            for kind, n in kinds.items():
                dense = kind in ("Hani", "Kana")
                same = kind == script or (dense and script in ("Jpan", "Hani") and (kind, script) != ("Kana", "Hani"))
                own, other = (own + (n if dense else 1), other) if same else (own, other + (n if dense else 1))
        found = detect_language(segment)
        if own >= FOREIGN_WORDS and found.script == script and found.code not in ("", code) and found.lead >= SURE:
            own, other = 0, own + other
        units, foreign = units + own + other, foreign + other
    return foreign / units if units else 0.0


def code_switch_rate(texts: Iterable[str], code: str, script: str = "", *, above: float = 0.1) -> float:
    """The share of texts of which more than `above` (ASSUMED 0.1) is in another language; put it beside temperature.

    Raises:
        DataError: there are no texts, or the language is none of the known ones.
    """
    shares = [code_switching(text, code, script) for text in texts]
    if not shares:
        raise DataError("code_switch_rate needs at least one text")
    return sum(share > above for share in shares) / len(shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageChecker:
    """Right when the answer is in the language and script of `Prompt.reference`: {"language": "hi", "script": "Latn"}.

    `script` may be left out; the reference may also be a tag alone (`read_tag`: `hi`, `hi-Latn`, `zh-Hant`, `pt-BR`) or
    an English name. A text without letters, too short to tell, or a reference that names no known language is unscored.
    """

    name: str = "language"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            asked = json.loads(prompt.reference)
        except (ValueError, RecursionError):
            asked = prompt.reference.strip()
        if isinstance(asked, str):
            asked = {"language": asked}
        if not isinstance(asked, dict) or not isinstance(asked.get("language"), str):
            return Verdict(correct=None, reason='the reference is no {"language": ..., "script": ...}')
        try:
            code, script = read_tag(asked["language"])
            if asked.get("script"):
                script = read_tag(f"{code}-{asked['script']}")[1]
            same = is_language(response.text, code, script)
        except DataError as error:
            return Verdict(correct=None, reason=str(error))
        found = detect_language(response.text)
        chinese = script in ("Hans", "Hant") and found.script == "Hani"
        kind = chinese_characters(response.text) if chinese else ""
        kind = kind or found.script
        if same is None:
            return Verdict(correct=None, reason=f"the language cannot be told (script {kind or 'none'})")
        return Verdict(correct=same, reason=f"language {found.code or 'unknown'}, script {kind}")


CHECKERS = {checker.name: checker for checker in (LanguageChecker(),)}
