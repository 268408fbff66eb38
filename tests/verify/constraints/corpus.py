"""Texts counted by hand: (id, arguments, text, whether it complies). The mutation tests stand on them too."""

from __future__ import annotations

from typing import Any

Case = tuple[str, dict[str, Any], str, bool]


def _counts(id: str, n: str, text: str, count: int, *, relation: str = "relation", **more: Any) -> list[Case]:
    """A text of so many, asked for with the relation words of English at, below and above its count."""
    return [
        (id, {n: count, relation: "at least", **more}, text, True),
        (id, {n: count + 1, relation: "at least", **more}, text, False),
        (id, {n: count, relation: "less than", **more}, text, False),
        (id, {n: count + 1, relation: "less than", **more}, text, True),
    ]


def _exact(id: str, n: str, text: str, count: int, **more: Any) -> list[Case]:
    return [(id, {n: count + off, **more}, text, off == 0) for off in (0, 1, -1) if count + off >= 0]


def _least(id: str, n: str, text: str, count: int, **more: Any) -> list[Case]:
    return [(id, {n: count + off, **more}, text, off <= 0) for off in (0, 1, -1) if count + off >= 0]


def _words() -> list[Case]:
    id, n = "length_constraints:number_words", "num_words"
    texts = [
        ("two words", 2),
        ("It's 5 o'clock", 5),
        ("well-known snake_case", 3),
        ("naïve, déjà vu!", 3),
        ("- - x", 1),
    ]
    return [case for text, count in texts for case in _counts(id, n, text, count)]


SENTENCES = [
    ("One. Two! Three? Four", 4),
    ("No mark at all", 1),
    ("Dr. Smith came " + "and went " * 20 + "home. Fine.", 2),
    ("It costs 2.50 here. Dr. Smith agrees!", 2),
    ("It is e.g. small. Fine.", 2),
    ("We saw the U.S. Army there. Good.", 2),
    ("We live in the U.S. The end.", 2),
    ("J. Smith came. He left.", 2),
    ("Plan B. The end.", 2),
    ("Plan B. 7 of them.", 2),
    ("Plan B. iPhone", 1),
    ("Version 2. iPhone", 1),
    ("In 1999. We came.", 2),
    ("The no. 5 of 12. of them.", 1),
    ("1. Take it.\n2. Leave it.", 4),
    ("Wait... what is it?", 1),
    ("Wait... The end.", 2),
    ("Wait... Peter came.", 1),
    ('"Go!" he said. (Yes.) "No."', 4),
    ("So?) Well", 2),
    ('"Go!" he said. "Yes."', 3),
    ("line one\nline two. line three", 2),
    ("a. b.c d", 1),
    ("Then. and small.", 2),
    ("mid-inc. Then it went", 2),
    ("mid-inc. Peter went", 1),
    ("End.*", 2),
    ("Stop.@home now", 2),
    ("Stop.x now", 1),
    ("Hi.  There.", 2),
    ("He said \"it is.\" Then left.", 2),
    ("...", 1),
    ("What?! No.", 3),
    ("It is no. 5.", 1),
    ("Then etc. However, this.", 2),
    ("Version 2. next one", 1),
    ("A.) Go. B", 3),
]  # fmt: skip
CAPITALS = [
    ("I AM not A cat", 3), ("IT'S", 2), ("IT’S", 2), ("DON'T", 2), ("NASA-based U.S.A. AND/OR", 2), ("CANNOT", 2),
    ("Hello, WORLD!", 1), ("THE 3RD X1 12", 3), ("GIMME GONNA", 4), ("A:B", 2), ("A:1", 1), ("X...Y", 2),
    ("**BOLD** (OH) [YES]", 3), ("M&M", 2), ("ONE--TWO", 2), ("ONE-TWO", 1), ("'S", 1), ("US'D X", 3), ("no", 0),
]  # fmt: skip
JSON_TEXTS = [
    ('{"a": 1}', True), ('```json\n{"a": 1}\n```', True), ("```JSON\n[1]\n```", True), ("```Json\n1```", True),
    ("```\n[]\n```", True), ("  3  ", True), (" \n```json\n1\n``` ", True), ("```json\n1\u3000\n```", True),
        ("{'a': 1}", False), ('{"a": 1', False), ('Here: {"a": 1}', False),
    ('{"a": 1} ok', False), ("[" * 100_000, False), ('"a string"', True), ("```js\n1\n```", False),
    ('{"a": 1}```', True),
]  # fmt: skip


def _lengths() -> list[Case]:
    cases = _words()
    for text, count in SENTENCES:
        cases += _counts("length_constraints:number_sentences", "num_sentences", text, count)
    id, n = "length_constraints:number_paragraphs", "num_paragraphs"
    for text, count in [("a\n***\nb", 2), ("***\na\n***\nb\n***", 2), ("a *** b***c", 3), ("a\n\nb", 1), ("a**b", 1)]:
        cases += _exact(id, n, text, count)
    cases += [(id, {n: k}, "a\n***\n \n***\nb", False) for k in (1, 2, 3)]
    cases += [(id, {n: 2}, "a\n******\nb", False), (id, {n: 1}, "***", False), (id, {n: 1}, "***\n***\na", False)]
    id = "length_constraints:nth_paragraph_first_word"

    def nth(total: int, which: int, word: str, text: str, holds: bool) -> Case:
        return id, {"num_paragraphs": total, "nth_paragraph": which, "first_word": word}, text, holds

    cases += [
        nth(2, 1, "one", "One, two.\n\nThree four.", True),
        nth(2, 2, "three", 'One, two.\n\n"Three" four.', True),
        nth(2, 2, "THREE", "One, two.\n\n'three's four.", True),
        nth(2, 2, "four", "One, two.\n\nThree four.", False),
        nth(3, 2, "three", "One, two.\n\nThree four.", False),
        nth(2, 3, "three", "One, two.\n\nThree four.", False),
        nth(1, 1, "one", "One, two.\n\nThree four.", False),
        nth(2, 2, "b", "a\n\n\n\nb", False),
        nth(2, 1, "a", "\n\na\n\nb", False),
        nth(2, 1, "a", "a\n\n \n\nb", True),
        nth(1, 1, " one ", "One, two.", True),
        nth(2, 1, "well", "  well?yes no\n\nb", True),
        nth(2, 1, "wellyes", "  well?yes no\n\nb", False),
        nth(1, 1, "co-op", "co-op stays\nhere", True),
        nth(1, 2, "b", "b", False),
        nth(1, 1, "a b", "A b. c", True),
        nth(1, 1, "a b", "A. b c", False),
    ]
    return cases


def _keywords() -> list[Case]:
    cases: list[Case] = [
        ("keywords:existence", {"keywords": ["cat", "dog"]}, "Category of DOGS", True),
        ("keywords:existence", {"keywords": ["cat", "dog"]}, "Category only", False),
        ("keywords:existence", {"keywords": ["a.b"]}, "axb", False),
        ("keywords:existence", {"keywords": ["a.b "]}, "A.B", True),
        ("keywords:existence", {"keywords": [" cat "]}, "cats", True),
        ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "nothing known", True),
        ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "Oh NO!", False),
        ("keywords:forbidden_words", {"forbidden_words": ["yes", "no "]}, "well, no", False),
        ("keywords:forbidden_words", {"forbidden_words": ["yes", "no"]}, "yesno", True),
        ("keywords:forbidden_words", {"forbidden_words": ["c++"]}, "I like C++ a lot", False),
        ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "no_", True),
        ("keywords:forbidden_words", {"forbidden_words": ["no"]}, "_no", True),
    ]
    cases += _counts("keywords:frequency", "frequency", "Cat in a category, CAT", 3, keyword="cat")
    cases += _counts("keywords:frequency", "frequency", "a+b aab a+b", 2, keyword="a+b ")
    for letter, text, count in [
        ("a", "Anna has", 3),
        ("!", "Oh!! no!", 3),
        ("T", "that", 2),
        ("é", "Été", 2),
        (" a ", "An a", 2),
    ]:
        cases += _counts(
            "keywords:letter_frequency", "let_frequency", text, count, relation="let_relation", letter=letter
        )
    return cases


def _layout() -> list[Case]:
    cases = _exact("detectable_format:number_bullet_lists", "num_bullets", "* a\n  - b\n-5\n**no**\n* *c*\nx - y", 4)
    cases += _exact("detectable_format:number_bullet_lists", "num_bullets", "*\n-", 1)
    cases += _least("detectable_format:number_highlighted_sections", "num_highlights", "*a* and **b** ** ** *\nc*", 2)
    cases += _least("detectable_format:number_highlighted_sections", "num_highlights", "*a b* *c*", 2)
    cases += _least("detectable_format:number_highlighted_sections", "num_highlights", "* * ** ** 3 * 4", 0)
    sections = "Section 1\na Section2 SubSection 3 section 4 Section x"
    cases += _least("detectable_format:multiple_sections", "num_sections", sections, 3, section_spliter="Section")
    cases += _least("detectable_format:multiple_sections", "num_sections", "P. 1 P. 2", 2, section_spliter=" P. ")
    cases += _least("detectable_format:multiple_sections", "num_sections", "Px 1", 0, section_spliter="P.")
    cases += _least("detectable_content:number_placeholders", "num_placeholders", "[a] [] [b\nc] [d [e]]", 3)
    titles = {"<<a>>": True, "ab x>>": False, "<<abc": False,
              "<< >>": False, "<<a\nb>>": False, "<a>": False, "x <<b c>> d": True, "<<>>": False,
              "<<<>>>": False, "<<  <x>  >>": True}  # fmt: skip
    cases += [("detectable_format:title", {}, text, holds) for text, holds in titles.items()]
    for marker, text, holds in [
        ("P.S.", "Bye. p. s. x", True), ("P.S.", "Bye. P.S. x", True), ("P.S.", "Bye. PS x", False),
        ("P.P.S", "p.p.s", True), ("P.P.S", "P. P. S", True), ("P.P.S", "P.S.", False), ("PS ", "the ps", True),
        ("P.S.", "p.s", False), ("N.B.", "nxbx", False), ("N.B.", "n.b. this", True),
    ]:  # fmt: skip
        cases.append(("detectable_content:postscript", {"postscript_marker": marker}, text, holds))
    cases += [("detectable_format:json_format", {}, text, holds) for text, holds in JSON_TEXTS]
    for text, holds in [("My answer is yes.", True), ("Well: My answer is no. Ok", True), ("my answer is yes.", False),
                        ("My answer is maybe.", True), ("My answer is yes", False)]:  # fmt: skip
        cases.append(("detectable_format:constrained_response", {}, text, holds))
    return cases


def _ends() -> list[Case]:
    two = {"a ****** b": True, "******a******b******": True, "a ****** a ": False, "a": False, "a******b******c": False,
           "a******  ******b": False, "a******": False, "******": False, "a *** *** b": False}  # fmt: skip
    cases: list[Case] = [("combination:two_responses", {}, text, holds) for text, holds in two.items()]
    for prompt, text, holds in [(" Do it. ", "  do IT. Sure", True), ("Do it.", "Sure. Do it.", False),
                                ("Do it now", "Do it", False)]:  # fmt: skip
        cases.append(("combination:repeat_prompt", {"prompt_to_repeat": prompt}, text, holds))
    for phrase, text, holds in [
        ("The end.", "It is the END. ", True), ("The end.", 'So: "the end."', True), ("the end", "the end.", False),
        (" bye ", "BYE", True), ("bye", "bye\n\nbye!", False), ('"hi"', 'he said "hi"', False),
    ]:  # fmt: skip
        cases.append(("startend:end_checker", {"end_phrase": phrase}, text, holds))
    for text, holds in [('"a"', True), ('""', True), ('"', False), ('"a', False), ('a"', False), (' "a" ', True),
                        ("“a”", False)]:  # fmt: skip
        cases.append(("startend:quotation", {}, text, holds))
    cases += [("punctuation:no_comma", {}, "a, b", False), ("punctuation:no_comma", {}, "a; b", True)]
    return cases


ENGLISH = "This is the house that we have seen and it was good for all of them"


def _case() -> list[Case]:
    cases: list[Case] = [
        ("change_case:english_capital", {}, ENGLISH.upper() + " 1!", True),
        ("change_case:english_capital", {}, ENGLISH.upper() + " x", False),
        ("change_case:english_capital", {}, "ESTA ES LA CASA DE LOS AMIGOS QUE NO SON COMO LOS OTROS", False),
        ("change_case:english_capital", {}, "ZXCV QWRT", True),
        ("change_case:english_capital", {}, "123", False),
        ("change_case:english_lowercase", {}, ENGLISH.lower(), True),
        ("change_case:english_lowercase", {}, ENGLISH, False),
        ("change_case:english_lowercase", {}, "das ist nicht das haus und wir sind auch nicht mit ihnen", False),
        ("change_case:english_lowercase", {}, "123", False),
        ("language:response_language", {"language": "en"}, ENGLISH, True),
        ("language:response_language", {"language": "de"}, ENGLISH, False),
        ("language:response_language", {"language": "hi"}, "यह एक अच्छा घर है और मैं इसका मालिक हूँ", True),
        ("language:response_language", {"language": "mr"}, "यह एक अच्छा घर है और मैं इसका मालिक हूँ", False),
        ("language:response_language", {"language": "ja"}, "これは日本語です", True),
        ("language:response_language", {"language": "zh"}, "これは日本語です", False),
        ("language:response_language", {"language": "ko"}, "좋은 아침입니다", True),
        ("language:response_language", {"language": "ko"}, "123 !?", True),
    ]
    for text, count in CAPITALS:
        cases += _counts(
            "change_case:capital_word_frequency", "capital_frequency", text, count, relation="capital_relation"
        )
    return cases


def _spanish() -> list[Case]:
    def relation(id: str, n: str, text: str, count: int, name: str = "relation", **more: Any) -> list[Case]:
        return [
            (id, {n: count, name: "al menos", **more}, text, True),
            (id, {n: count + 1, name: "al menos", **more}, text, False),
            (id, {n: count, name: "como máximo", **more}, text, True),
            *([(id, {n: count - 1, name: "como máximo", **more}, text, False)] if count else []),
        ]

    cases = relation("es:length_constraints:number_words", "num_words", "Un bien-estar, sí.", 3)
    cases += relation("es:length_constraints:number_sentences", "num_sentences", "El Sr. López vino. ¿Y tú? No.", 3)
    cases += relation("es:special_character:tildes", "num_words", "Sí, él comió ÁRBOL más casa", 5)
    cases += relation("es:keywords:frequency", "frequency", "Éxito, éxitos", 2, keyword="éxito")
    cases += relation("es:keywords:letter_frequency", "let_frequency", "Fofo", 2, "let_relation", letter="f")
    cases += relation("es:detectable_content:number_placeholders", "num_placeholders", "[a] [b]", 2)
    cases += relation("es:detectable_format:multiple_sections", "num_sections", "Sección 1 Sección 2", 2,
                      section_spliter="Sección")  # fmt: skip
    cases += relation("es:detectable_format:number_highlighted_sections", "num_highlights", "*a* *b*", 2)
    cases += _least("es:detectable_format:number_highlighted_sections", "num_highlights", "*a* *b*", 2)
    cases += _exact("es:detectable_format:number_bullet_lists", "num_bullets", "* a\n- b\n* c", 2)
    cases += _exact("es:special_character:enie", "let_frequency", "niño Año señor-ñu casa", 3)
    cases += _exact("es:special_character:dieresis", "let_frequency", "pingüino CIGÜEÑA casa", 2)
    for mark, texts in {
        "question": {"¿Sí?": True, "Sí?": False, "¿?": False, "¿Sí": False, "¿\n a b\n?": True, "¿ \n?": False},
        "exclamation": {"¡Sí!": True, "Sí!": False, "¡!": False, "¡Sí": False, "¡ \n\t!": False},
    }.items():
        cases += [(f"es:punctuation:{mark}_marks", {}, text, holds) for text, holds in texts.items()]
    cases += [
        ("es:change_case:spanish_capital", {}, "LA CASA ES DE LOS AMIGOS QUE SON DE AQUÍ", True),
        ("es:change_case:spanish_capital", {}, ENGLISH.upper(), False),
        ("es:change_case:spanish_lowercase", {}, "la casa es de los amigos", True),
        ("es:change_case:spanish_lowercase", {}, "La casa es de los amigos", False),
        ("es:detectable_content:postscript", {"postscript_marker": "P.D."}, "Adiós. P. D. hola", True),
        ("es:detectable_content:postscript", {"postscript_marker": "P.D."}, "Adiós. PD hola", False),
        ("es:detectable_format:constrained_response", {}, "Quizás.", True),
        ("es:detectable_format:constrained_response", {}, "Quizás", False),
        ("es:length_constraints:nth_paragraph_first_word",
         {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "Desde mi punto de vista"},
         "Desde mi punto de vista, sí.", True),
    ]  # fmt: skip
    return cases


def _french() -> list[Case]:
    spelling = {"word_to_accentuate": {"celebrites": "célébrités", "a": "à"}}
    texts: dict[str, dict[str, bool]] = {
        "detectable_content:informal_address": {
            "Tu es là": True, "Je t'aime": True, "Je t’aime": True, "C'est toi": True, "vous êtes": False,
            "statue": False, "Et puis t rien": False, "tes amis": True, "la ta-ble": True, "ton": True, "te": True,
        },
        "detectable_content:no_digits": {"sans chiffre": True, "en 2024": False},
        "special_character:no_accents": {"sans accent": True, "là": False, "ÉTÉ": False, "ç": False, "œuf": True},
        "startend:quotation": {"« oui »": True, '"oui"': True, "'oui'": True, "« oui\"": False, "oui": False},
        "detectable_format:title": {"##a##": True, "## a": False, "<<a>>": False, "####": False, "## ##": False},
        "detectable_format:constrained_response": {"Oui.": True, "oui": False},
    }  # fmt: skip
    cases: list[Case] = [(f"fr:{id}", {}, text, holds) for id, rows in texts.items() for text, holds in rows.items()]
    cases += [
        ("fr:special_character:accents", spelling, "Les Célébrités à Paris", True),
        ("fr:special_character:accents", spelling, "Les célébrités, il a à faire", False),
        ("fr:special_character:accents", spelling, "Les célébrités", False),
        ("fr:special_character:accents", {"word_to_accentuate": {"ou": "ou", "ete": "été"}}, "un été ou deux", True),
        ("fr:special_character:accents", {"word_to_accentuate": {"Été": "été"}}, "un été", True),
        ("fr:special_character:accents", {"word_to_accentuate": {"été": "Été"}}, "un été", True),
        ("fr:special_character:ethel_or_cedilla", {"forbidden_char": "ç"}, "FRANÇAIS", False),
        ("fr:special_character:ethel_or_cedilla", {"forbidden_char": "ç"}, "francais", True),
        ("fr:length_constraints:number_words", {"num_words": 3, "relation": "au moins"}, "l'eau est", True),
        ("fr:length_constraints:number_words", {"num_words": 3, "relation": "moins de"}, "l'eau est", False),
        (
            "fr:length_constraints:number_sentences",
            {"num_sentences": 3, "relation": "moins de"},
            "M. X vient. Oui.",
            True,
        ),
        ("fr:length_constraints:number_sentences", {"num_sentences": 2, "relation": "au moins"}, "Mme. X vient", False),
        ("fr:change_case:french_capital", {}, "LA MAISON EST POUR LES AMIS AVEC QUI NOUS SOMMES", True),
        ("fr:change_case:french_lowercase", {}, "la maison est pour nous et les autres", True),
        ("fr:detectable_content:postscript", {"postscript_marker": "추신"}, "Adieu. 추신 oui", True),
    ]
    return cases


def _wide() -> list[Case]:
    texts: dict[str, dict[str, bool]] = {
        "letters:hiragana_only": {
            "うみー、１２！": True, "ぁん": True, "うみと山": False, "うみa": False, "123": False,
            "ゕ": False, "ウミ": False,
            "うみゔ": False,
        },
        "letters:katakana_only": {
            "ウミー・１２！": True, "ァンｦﾟ": True, "ウミト山": False, "ウミa": False, "123": False,
            "ｳﾐ": True, "うみ": False,
            "ウミヴ": False,
        },
        "letters:no_hiragana": {"海山ウミ": True, "海と": False, "ゖ": False, "ぁ": False},
        "letters:no_katakana": {"海とa": True, "ヺ": False, "ァ": False, "ｦ": False, "ﾟ": False, "ー": True},
        "letters:furigana": {
            "川（かわ）と海（うみ）": True, "川（かわ）と海": False, "かわ": True, "川（カワ）": False,
            "川(かわ)": False,
        },
        "letters:kansuuji": {"三つ": True, "3つ": False, "３つ": False},
        "punctuation:no_comma": {"海、山": False, "海,山": True},
        "punctuation:no_period": {"海。": False, "海．": True},
        "startend:quotation": {"「海」": True, "「海": False, '"海"': False},
        "detectable_format:title": {"『海』": True, "『 』": False, "<<海>>": False},
        "detectable_format:constrained_response": {"はい、そうです。": True, "はい": False},
    }  # fmt: skip
    cases: list[Case] = [(f"ja:{id}", {}, text, holds) for id, rows in texts.items() for text, holds in rows.items()]

    def both(id: str, n: str, text: str, count: int, relation: str = "relation", **more: Any) -> list[Case]:
        return [
            (id, {n: count, relation: "以上", **more}, text, True),
            (id, {n: count + 1, relation: "以上", **more}, text, False),
            (id, {n: count, relation: "未満", **more}, text, False),
            (id, {n: count + 1, relation: "未満", **more}, text, True),
        ]

    cases += both("ja:letters:kanji", "kanji_limit", "川と一龯龰a", 3)
    cases += both("ja:length_constraints:number_letters", "num_letters", "海 山。\n", 5)
    for text, count in [
        ("海です。山です！\n川です", 3),
        ("「海。山。」と言う。", 1),
        ("海」です。山。", 2),
        ("。。\n!", 0),
        ("海？山!川", 3),
    ]:
        cases += both("ja:length_constraints:number_sentences", "num_sentences", text, count)
    cases += both("ja:keywords:frequency", "frequency", "海と海岸", 2, keyword="海")
    cases += both("ja:keywords:letter_frequency", "let_frequency", "しシしか", 3, "let_relation", letter="し")
    cases += _exact("ja:detectable_format:number_bullet_lists", "num_bullets", "・海\n ・山\n・・川\n- x\n•空", 3)
    cases += _exact("ja:detectable_format:number_numbered_lists", "num_items", "1. 海\n 12. 山\n3.川\n4) x", 2)
    cases += _least(
        "ja:detectable_format:number_highlighted_sections", "num_highlights", "《海》《 》《山\n》《川》", 2
    )
    cases += _least("ja:detectable_format:multiple_sections", "num_sections", "第1章、第２章、第三章 第4節 1章", 2,
                    section_spliter="章 ")  # fmt: skip
    nominal = "とても長い川。海が見えます。大切なこと！楽しいゲーム\n静かなタワー「海」\nそうです"
    cases += _least("ja:detectable_format:nominal_ending", "count", nominal, 4)
    cases += [
        ("ja:startend:sentence_unified_end", {"ending": "です"}, "海です。山です！「川だ。」空です", True),
        ("ja:startend:sentence_unified_end", {"ending": "です"}, "海です 。 \n山です。", True),
        ("ja:startend:sentence_unified_end", {"ending": "です"}, "海です。山だ。", False),
        ("ja:startend:sentence_unified_end", {"ending": "です"}, "海です\n山だ", False),
        ("ja:startend:sentence_unified_end", {"ending": "です"}, "。「海です。」", False),
        ("ja:startend:end_checker", {"end_phrase": "終わりです。」"}, "海。「終わりです。」", True),
        ("ja:startend:end_checker", {"end_phrase": "終わりです。"}, "終わりです。海", False),
        ("ja:keywords:forbidden_words", {"forbidden_words": ["海"]}, "海岸", False),
        ("ja:keywords:forbidden_words", {"forbidden_words": ["山", "海"]}, "川", True),
        ("ja:keywords:existence", {"keywords": ["海", "山"]}, "海岸と山", True),
        ("zh:punctuation:no_comma", {}, "海，山", False),
        ("zh:punctuation:no_comma", {}, "海；山", True),
        ("zh:startend:quotation", {}, "“海”", True),
        ("zh:detectable_format:title", {}, "《海》", True),
        ("zh:length_constraints:number_letters", {"num_letters": 3, "relation": "恰好"}, "海山。", True),
        ("zh:length_constraints:number_letters", {"num_letters": 2, "relation": "至多"}, "海山。", False),
        ("zh:length_constraints:number_sentences", {"num_sentences": 2, "relation": "恰好"}, "海！山？", True),
        ("zh:detectable_format:multiple_sections", {"num_sections": 1, "section_spliter": "部分"}, "第1部分", True),
        ("zh:startend:end_checker", {"end_phrase": "再见。"}, "“好。再见。”", True),
    ]

    def nth(which: int, word: str, text: str, holds: bool, total: int = 2) -> Case:
        arguments = {"num_paragraphs": total, "nth_paragraph": which, "first_word": word}
        return "ja:length_constraints:nth_paragraph_first_word", arguments, text, holds

    cases += [nth(2, "海", "山\n\n「『海と」", True), nth(1, "海", "山\n\n海", False), nth(2, "山", "山\n\n海", False),
              nth(2, "海", "山\n\n\n\n海", False), nth(3, "海", "山\n\n海", False), nth(1, "山", "山\n\n海", False, 1),
              nth(1, " 山", " 山\n\n海", True), nth(2, "山", "山", False, 1)]  # fmt: skip
    return cases


def corpus() -> list[Case]:
    """All of them."""
    parts = (_lengths, _keywords, _layout, _ends, _case, _spanish, _french, _wide, _countable, _plain)
    return [case for part in parts for case in part()]


def _four(id: str, text: str, count: int, **more: Any) -> list[Case]:
    """The four relations at the count and beside it."""
    cases = _counts(id, "n", text, count, **more)
    cases += [(id, {"n": count, "relation": "exactly", **more}, text, True)]
    cases += [(id, {"n": count + 1, "relation": "exactly", **more}, text, False)]
    cases += [(id, {"n": count, "relation": "at most", **more}, text, True)]
    if count:
        cases += [(id, {"n": count - 1, "relation": "at most", **more}, text, False)]
    return cases


def _countable() -> list[Case]:
    cases = [
        *_four("numerical:character_count", "a b\nc!", 4),
        *_four("numerical:line_count", "a\n\n b\n \nc", 3),
        *_four("numerical:number_count", "3 and 1,200.50 or 7. x2y", 4),
        *_four("numerical:question_count", 'Is it? No. "Was it?" (So?) It is!', 3),
        *_four("numerical:question_count", "Is it? \n", 1),
        *_four("numerical:exclamation_count", "Go! Why? **Stop!** Then! x", 3),
        *_four("content:distinct_words", "A a b the The", 3),
        *_four("content:suffix_words", "Running RINGING ing sing inglet", 3),
        *_four("format:headings", "# a\n## b\n##c\n ## d\n## e\n### f", 2, level=2),
        *_four("format:bold", "**a** *b* ** ** **c d** **e\nf**", 2),
    ]
    between = {"low": 2, "high": 3}
    cases += [("numerical:word_range", between, " ".join("abcde"[:n]), n in (2, 3)) for n in range(1, 6)]
    for text, longest in [("One two. Three four five!", 3), ("One two three", 3)]:
        cases += [("numerical:sentence_words", {"n": n}, text, n >= longest) for n in (2, 3, 4)]
    blocks = "One. Two.\n\nThree. Four."
    for relation, holds in {"at least": (True, True, False), "at most": (False, True, True),
                            "less than": (False, False, True), "exactly": (False, True, False)}.items():  # fmt: skip
        for n, good in zip((1, 2, 3), holds):
            if n > 1:
                cases.append(("numerical:paragraph_sentences", {"n": n, "relation": relation}, blocks, good))
    uneven = "One. Two.\n\nThree. Four. Five.\n\n\n\n"
    cases += [("numerical:paragraph_sentences", {"n": 2, "relation": r}, uneven, r == "at least")
              for r in ("at least", "exactly", "at most")]  # fmt: skip
    order = {"keywords": ["a", "b"]}
    rows: list[Case] = [
        ("content:include_sentence", {"phrase": " Go on. "}, "So: Go on. Yes", True),
        ("content:include_sentence", {"phrase": " Go on. "}, "So:Go on.", True),
        ("content:include_sentence", {"phrase": "Go on."}, "go on.", False),
        ("content:keywords_in_order", order, "x A then B", True),
        ("content:keywords_in_order", order, "b then a", False),
        ("content:keywords_in_order", order, "ab b", False),
        ("content:keywords_in_order", {"keywords": ["a", "a"]}, "only a", False),
        ("content:keywords_in_order", {"keywords": ["a", "a"]}, "a a", True),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 2}, "One. A cat. Three.", True),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 1}, "One. A cat. Three.", False),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 3}, "One. A cat. Three.", False),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 4}, "One. A cat. Cats.", False),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 3}, "One. Two. A cat.", True),
        ("content:keyword_in_sentence", {"keyword": "cat", "nth": 2}, "One. Cats.", False),
        ("content:short_words", {"n": 3}, "the cat, sat", True),
        ("content:short_words", {"n": 2}, "the cat", False),
        ("content:short_words", {"n": 1}, "... !", True),
        ("content:no_repeated_word", {"letters": 3}, "the cat saw a a dog", True),
        ("content:no_repeated_word", {"letters": 3}, "the cat The", False),
        ("content:no_repeated_word", {"letters": 4}, "the cat the", True),
        ("linguistic:acrostic", {"word": "Cat"}, "can\n\n At\nto", True),
        ("linguistic:acrostic", {"word": "cat"}, "can\nat", False),
        ("linguistic:acrostic", {"word": "cat"}, "can\nat\nto\nx", False),
        ("linguistic:alliteration", {"letter": "B"}, "Big bad, bear", True),
        ("linguistic:alliteration", {"letter": "b"}, "Big cat", False),
        ("linguistic:alliteration", {"letter": "b"}, "!!!", False),
        ("linguistic:lipogram", {"letter": "E"}, "no such sign", True),
        ("linguistic:lipogram", {"letter": "e"}, "THE", False),
        ("inverse:no_digits", {}, "none", True),
        ("inverse:no_digits", {}, "1", False),
        ("inverse:no_characters", {"characters": "X;"}, "a b", True),
        ("inverse:no_characters", {"characters": "X;"}, "ax", False),
        ("inverse:no_characters", {"characters": "x;"}, "a; b", False),
        ("inverse:no_lists", {}, "a - b * c 1. d", True),
        ("inverse:no_lists", {}, "a\n- b", False),
        ("inverse:no_lists", {}, "1. b", False),
        ("inverse:no_lists", {}, "1. b\n- c", False),
        ("inverse:no_first_person", {}, "They know it; mine-field", False),
        ("inverse:no_first_person", {}, "They know it. usual", True),
        ("inverse:no_first_person", {}, "so do I", False),
    ]
    for word in ("me", "my", "mine", "myself", "We", "us", "our", "ours", "ourselves"):
        rows.append(("inverse:no_first_person", {}, f"it is {word}", False))
    return cases + rows + _formats()


def _formats() -> list[Case]:
    table = "| a | b |\n|---|:-:|\n| 1 | 2 |"
    items = {"1. a\n2) b\nx\n3. c": True, "1. a\n3. b\n2. c": False, "2. a\n3. b\n4. c": False, "1. a\n2. b": False,
             "1. a\n2. b\n3. c\n4. d": False, "1.a\n2. b\n3. c": False}  # fmt: skip
    tables = {table: (1, 2), "x\n\n" + table + "\n| 3 | 4 |\ny": (2, 2), "| a |\n| - |\n| b |": (1, 1)}
    cases: list[Case] = [("format:numbered_list", {"items": 3}, text, holds) for text, holds in items.items()]
    for text, (rows, columns) in tables.items():
        for row, column in ((0, 0), (1, 0), (0, 1)):
            shape = {"rows": rows + row, "columns": columns + column}
            cases.append(("format:table", shape, text, not row and not column))
    for text in ("| a | b |\n| c | d |\n| 1 | 2 |", "| a | b |\n|---|\n| 1 | 2 |",
        "a | b\n--|--\n1 | 2", "a | b |\n--|--|\n1 | 2 |",
                 "| a | b |\n|---|---|\n| 1 |",
                 "| a | b\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|x|\n| 1 | 2 |", "no table"):  # fmt: skip
        cases.append(("format:table", {"rows": 1, "columns": 2}, text, False))
    for text, holds in {"```Python\nx\n```": True, "a\n``` python \nx\n```  \nb": True, "```\nx\n```": False,
                        "```python\n \n```": False, "```python\nx": False, "```java\nx\n```": False,
                        }.items():  # fmt: skip
        cases.append(("format:code_block", {"language": "python"}, text, holds))
    for text in ("```a```\n```python\nx\n```", "````\n```python\nx\n```"):
        cases.append(("format:code_block", {"language": "python"}, text, True))
    cases.append(("format:code_block", {"language": "Python"}, "```python\nx\n```", True))
    for text, holds in {"<a>x</a>": True, " <a>x</a>\n": True, "<a></a>": False, "<a> </a>": False, "x<a>y</a>": False,
                        "<a>x</a>y": False, "<a>x": False, "x</a>": False, "<a>x</a> <a>y</a>": False,
                        "<a><a>x</a>": False, "<a>x</a></a>": False, "<a>": False}.items():  # fmt: skip
        cases.append(("format:tagged", {"tag": "a"}, text, holds))
    for text, holds in {"> a\n\n> b": True, ">a\n> b": True, "> a\nb": False, " > a": True, "a": False}.items():
        cases.append(("format:line_prefix", {"prefix": "> "}, text, holds))
    for text, holds in {"a; b": True, " a;b\n": True, "a;b;c": False, "a; ": False, "a;\nb": False, "a": False}.items():
        cases.append(("format:separated_items", {"items": 2, "separator": ";"}, text, holds))
    cases.append(("format:separated_items", {"items": 2, "separator": " ; "}, "a;b", True))
    cases.append(("format:csv", {"columns": 3}, "a, ,c\nd,e,f", False))
    for text, holds in {"a,b\nc,d": True, "a,b": False, "a,b\nc": False, "a,b\nc, ": False, "a,b\n\nc,d\n": True,
                        "a,b,c\nd,e,f": False}.items():  # fmt: skip
        cases.append(("format:csv", {"columns": 2}, text, holds))
    return cases


def _plain() -> list[Case]:
    rows: list[Case] = []
    for id, text, count in [
        ("word_count", "It's 5 o'clock", 5), ("word_count", "two words", 2),
        ("sentence_count", "It costs 2.50 here. Dr. Who agrees!", 2), ("sentence_count", "One?! Two... Three", 3),
        ("sentence_count", "A. B said so. 。", 1), ("sentence_count", "好。不！", 2),
        ("paragraph_count", "a\nb\n\n\nc\n", 2), ("paragraph_count", "a\n***\nb\n\n", 2),
        ("paragraph_count", " \n\na", 1),
        ("bullet_count", "- a\n* b\n  • c\n**bold**\n-5\n+ d", 4),
    ]:  # fmt: skip
        rows += _four(id, text, count)
    rows += _four("keyword_count", "Cat in a category, cat", 2, keyword="cat")
    rows += _four("keyword_count", "c++ C++ c", 2, keyword="c++")
    return [
        *rows,
        ("forbidden_words", {"words": ["no"]}, "nothing known", True),
        ("forbidden_words", {"words": ["yes", "no"]}, "Oh no!", False),
        ("ends_with", {"phrase": "the end."}, "This is The End.\n", True),
        ("ends_with", {"phrase": " the end. "}, "“This is the end.”", True),
        ("ends_with", {"phrase": "the end"}, "**the end** ", True),
        ("ends_with", {"phrase": "the end"}, 'it is the end "', True),
        ("ends_with", {"phrase": "the end"}, "the end, no", False),
        ("starts_with", {"phrase": "Well"}, "  well, then", True),
        ("starts_with", {"phrase": " Well "}, "“ Well”", True),
        ("starts_with", {"phrase": "Well"}, ' "Well then', True),
        ("starts_with", {"phrase": "well"}, "oh well", False),
        ("lowercase", {}, "all small 1", True),
        ("lowercase", {}, "123", False),
        ("lowercase", {}, "One", False),
        ("uppercase", {}, "ALL BIG 1!", True),
        ("uppercase", {}, "All", False),
        ("no_comma", {}, "一，二", False),
        ("no_comma", {}, "一、二", False),
        ("no_comma", {}, "a, b", False),
        ("no_comma", {}, "a b", True),
        ("quoted", {}, '"in quotes"', True),
        ("quoted", {}, ' «oui» ', True),
        ("quoted", {}, '"', False),
        ("quoted", {}, "“a\"", False),
        ("quoted", {}, '""', True),
    ]  # fmt: skip
