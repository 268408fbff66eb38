"""Language and script of a text, code switching, and the checker of rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.records import Message, Prompt, Response
from burnish.verify.language import (
    LanguageChecker,
    code_switch_rate,
    code_switching,
    detect_language,
    is_language,
    profiles,
    scripts,
    usual_script,
    words_of,
)

HINDI, ROMAN = "मैं आज घर जा रहा हूँ और तुम क्या कर रहे हो", "main aaj ghar ja raha hoon aur tum kya kar rahe ho"
UNSEEN = {  # no profile was written from these
    "en": "The train leaves at noon, and nobody knows when it will come back.",
    "es": "El tren sale a mediodía y nadie sabe cuándo va a volver.",
    "pt": "O trem sai ao meio-dia e ninguém sabe quando ele vai voltar.",
    "fr": "Le train part à midi et personne ne sait quand il va revenir.",
    "de": "Der Zug fährt um zwölf ab, und niemand weiß, wann er wieder kommt.",
    "it": "Il treno parte a mezzogiorno e nessuno sa quando tornerà alla stazione.",
    "nl": "De trein vertrekt om twaalf uur en niemand weet wanneer hij terugkomt.",
    "sv": "Tåget går klockan tolv och ingen vet när det kommer tillbaka.",
    "fi": "Juna lähtee kello kaksitoista, eikä kukaan tiedä, milloin se tulee takaisin.",
    "pl": "Pociąg odjeżdża w południe i nikt nie wie, kiedy wróci.",
    "tr": "Tren öğlen kalkıyor ve ne zaman döneceğini kimse bilmiyor.",
    "vi": "Tàu rời ga lúc mười hai giờ và không ai biết khi nào nó quay lại.",
    "id": "Kereta berangkat pada siang hari dan tidak ada yang tahu kapan akan kembali.",
    "sw": "Treni inaondoka saa sita na hakuna mtu anayejua itarudi lini.",
    "ru": "Поезд уходит в полдень, и никто не знает, когда он вернётся.",
    "uk": "Потяг відходить опівдні, і ніхто не знає, коли він повернеться.",
    "bg": "Влакът тръгва по обяд и никой не знае кога ще се върне.",
    "ar": "يغادر القطار عند الظهر ولا أحد يعرف متى سيعود إلى هنا.",
    "fa": "قطار ظهر حرکت می‌کند و هیچ کس نمی‌داند که کی برمی‌گردد.",
    "ur": "ٹرین دوپہر کو روانہ ہوتی ہے اور کوئی نہیں جانتا کہ وہ کب واپس آئے گی۔",
    "hi": "ट्रेन दोपहर में निकलती है और कोई नहीं जानता कि वह कब लौटेगी।",
    "mr": "गाडी दुपारी निघते आणि ती कधी परत येईल हे कोणालाही माहीत नाही.",
    "th": "รถไฟออกตอนเที่ยง", "ko": "기차는 정오에 떠난다.", "ja": "電車は正午に出ます。", "zh": "火车中午出发。",
    "he": "הרכבת יוצאת בצהריים.", "el": "Το τρένο φεύγει το μεσημέρι.", "ta": "ரயில் நண்பகலில் புறப்படுகிறது.",
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(UNSEEN))
def test_sentences_that_no_profile_was_written_from(code):
    found = detect_language(UNSEEN[code])
    assert (found.code, found.script) == (code, usual_script(code))
    assert is_language(UNSEEN[code], code) is True
    assert detect_language(UNSEEN[code].upper()).code == code


@pytest.mark.parametrize("key", sorted(profiles()))
def test_samples_and_their_neighbours(key):
    profile = profiles()[key]
    found = detect_language(profile.sample)
    assert (found.code, found.script) == (profile.code, profile.script) and found.lead > 0.05
    assert profile.words == {word.lower() for word in profile.words} and profile.name


def test_scripts():
    assert scripts("ab вг") == {"Latn": 0.5, "Cyrl": 0.5} and scripts("12 !?") == {}
    assert scripts("漢字かな") == {"Jpan": 1.0} and scripts("汉字汉字汉字汉字汉字の") == {"Hani": 1.0}
    assert next(iter(scripts("हिन्दी ok"))) == "Deva" and detect_language("123").code == ""
    assert words_of("L'eau, 3 fois — OK") == ["l", "eau", "fois", "ok"]


def test_romanised_hindi_never_keeps_a_devanagari_reply():
    assert is_language(ROMAN, "hi", "Latn") is True and is_language(HINDI, "hi", "Latn") is False
    assert is_language(HINDI, "hi") is True and is_language(ROMAN, "hi") is False
    assert is_language("ok 12", "hi", "Latn") is None and is_language("?!", "en") is None
    with pytest.raises(DataError, match="'xx'; known: en, es"):
        is_language("abc", "xx")


def test_code_is_left_out():
    text = "Voici le code pour vous :\n```python\nfor the in all: print(the and is)\n```\nEt c'est tout."
    assert detect_language(text).code == "fr"


def test_code_switching_by_hand():
    assert code_switching("the cat sat", "en") == 0 and code_switching("", "en") == 0
    assert code_switching("the cat кот", "en") == 1 / 3
    assert code_switching("海と空 ok", "ja") == 1 / 4
    assert code_switching("我在 the sea", "zh") == 2 / 4
    mixed = "This is the house that we have seen. Das ist nicht das Haus und auch nicht der Garten."
    assert code_switching(mixed, "en") == 10 / 18 and code_switching(mixed, "de") == 8 / 18
    assert code_switching(HINDI, "hi", "Latn") == 1 and code_switching(ROMAN, "hi", "Latn") == 0
    assert code_switch_rate([mixed, "It is good."], "en") == 0.5
    assert code_switch_rate([mixed, "It is good."], "en", above=0.6) == 0
    with pytest.raises(DataError, match="at least one text"):
        code_switch_rate([], "en")


def verdict(reference: str, text: str):
    prompt = Prompt(messages=(Message(role="user", content="?"),), checker="language", reference=reference)
    return LanguageChecker().check(
        prompt, Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
    )


def test_rows():
    asked = json.dumps({"language": "hi", "script": "Latn"})
    assert verdict(asked, ROMAN).correct is True and verdict(asked, HINDI).correct is False
    assert verdict("hi-Latn", ROMAN).correct is True and verdict("hi", HINDI).correct is True
    assert verdict("de", UNSEEN["en"]).reason == "language en, script Latn"
    for reference, text in (("", "text"), ("[]", "text"), ("xx", "text"), ("en", "12"), ("en", "zxq vbn"), ("{}", "a"),
                            ("[" * 100_000, "a")):  # fmt: skip
        assert verdict(reference, text).correct is None, reference[:9]


HANT, HANS = "火車中午出發，沒有人知道它什麼時候回來。", "火车中午出发，没有人知道它什么时候回来。"


@pytest.mark.parametrize(
    ("tag", "right", "wrong"),
    [
        ("zh-Hant", HANT, HANS), ("zh-Hans", HANS, HANT), ("zh-TW", HANT, HANS), ("zh_CN", HANS, HANT),
        ("zh-hant-HK", HANT, HANS), ("Traditional Chinese", HANT, HANS),
        ('{"language": "zh", "script": "Hant"}', HANT, HANS),
        ("zh-Hans", HANS, UNSEEN["ja"]), ("zh", HANT, UNSEEN["ja"]),
        ("pt-BR", UNSEEN["pt"], UNSEEN["es"]), ("en-US", UNSEEN["en"], UNSEEN["de"]),
        ("es-419", UNSEEN["es"], UNSEEN["pt"]),
        ("EN", UNSEEN["en"], UNSEEN["de"]), ("English", UNSEEN["en"], UNSEEN["de"]), ("HI-latn", ROMAN, HINDI),
        ("ko-Hang", UNSEEN["ko"], UNSEEN["ja"]), ('{"language": "German", "script": null}', UNSEEN["de"], UNSEEN["en"]),
    ],
)  # fmt: skip
def test_tags_with_scripts_and_regions(tag, right, wrong):
    assert verdict(tag, right).correct is True and verdict(tag, wrong).correct is False


def test_what_a_tag_cannot_tell_is_unscored():
    told = {
        "en-Zzzz": "there is no script 'Zzzz'", "en-foo-bar": "'foo' in 'en-foo-bar' is no script and no region",
        "Klingon": "no profile of the language 'klingon'; known: en", "sr-Latn": "cannot be told",
        '{"language": "zh", "script": "Abcd"}': "no script 'Abcd'",
    }  # fmt: skip
    for tag, reason in told.items():
        found = verdict(tag, UNSEEN["en"])
        assert found.correct is None and reason in found.reason, tag
    assert verdict("zh-Hans", "中午").correct is None  # both write it so
    assert verdict("sr-Latn", UNSEEN["ru"]).correct is False  # another script is another script


@given(st.text())
def test_any_text_can_be_asked(text):
    found = detect_language(text)
    assert 0 <= found.lead <= 1 and 0 <= code_switching(text, "en") <= 1
    assert abs(sum(scripts(text).values()) - 1) < 1e-9 or not scripts(text)
