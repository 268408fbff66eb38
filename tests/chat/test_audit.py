"""Audits find each fault planted in a template, and nothing in a sound one."""

from __future__ import annotations

import pytest

from burnish.chat import audit, load_chat
from tests.chat.dialogue_samples import TEMPLATES

LOOP = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
SHIELD = "does not shield structure"


def found(chat, **options):
    return [(f.severity, f.what) for f in audit(chat, **options)]


def one(findings, part):
    (severity,) = [severity for severity, what in findings if part in what]
    return severity


@pytest.mark.parametrize("format", ["llama3", "chatml"])
def test_lab_formats_are_sound(folders, format):
    assert audit(load_chat(folders(adds_bos=True, pad_token="<pad>"), format=format), after_training=True) == []


def test_sound_own_template_warns_of_typed_markers_alone(folders):
    findings = audit(load_chat(folders(template=LOOP + PROMPT, pad_token="<pad>")), after_training=True)
    assert [f.severity for f in findings] == ["warning"]
    assert SHIELD in findings[0].what and findings[0].fix


def test_bos(folders):
    twice = found(load_chat(folders(template="{{ bos_token + bos_token }}" + LOOP + PROMPT, bos_token="<s>")))
    assert one(twice, "begins with 2 BOS tokens (<s>)") == "error"
    none = found(load_chat(folders(template=LOOP + PROMPT, adds_bos=True)))
    assert one(none, "begins without BOS") == "error"
    named = found(load_chat(folders(template=LOOP + PROMPT, bos_token="<s>")))
    assert one(named, "neither it nor the template writes") == "warning"
    once = found(load_chat(folders(template="{{ bos_token }}" + LOOP + PROMPT, adds_bos=True)))
    assert not [what for _, what in once if "BOS" in what]


def test_stop_token(folders):
    chat = load_chat(folders(template=TEMPLATES["plain"]))
    assert one(found(chat), "without a stop token") == "warning"
    assert one(found(chat, after_training=True), "without a stop token") == "error"
    silent = LOOP.replace("+ '<|im_end|>\n'", "+ ('<|im_end|>\n' if m.role != 'assistant' else '')")
    assert (
        one(found(load_chat(folders(template=silent + PROMPT)), after_training=True), "without a stop token") == "error"
    )


def test_prefix(folders):
    wrong = found(load_chat(folders(template=LOOP + PROMPT.replace("assistant", "model"))))
    assert wrong[0][0] == "error" and "generation prompt" in wrong[0][1]
    thinking = found(load_chat(folders(template="thinking")))
    assert one(thinking, "writes an assistant message in another way") == "warning"
    assert one(thinking, "with thinking in it in another way") == "warning"
    assert not [what for _, what in found(load_chat(folders(template="tools"))) if "another way" in what]


def test_pad(folders):
    assert one(found(load_chat(folders(template="tools"))), "has no pad token") == "warning"
    taken = found(load_chat(folders(template="tools", pad_token="<|im_end|>")))
    assert one(taken, "the pad token <|im_end|> is one that the template writes") == "warning"
    assert not [what for _, what in found(load_chat(folders(template="tools", pad_token="<pad>"))) if "pad" in what]


def test_roles(folders):
    gemma = found(load_chat(folders(template="gemma", bos_token="<s>")))
    assert one(gemma, "cannot carry system messages") == "warning"
    assert one(gemma, "cannot carry tool calls") == "warning"
    dropping = LOOP.replace("in messages %}", "in messages if m.role != 'system' %}") + PROMPT
    assert one(found(load_chat(folders(template=dropping))), "cannot carry system messages") == "warning"
    known = LOOP.replace("in messages %}", "in messages if m.role in ('system', 'user', 'assistant') %}") + PROMPT
    assert one(found(load_chat(folders(template=known))), "cannot carry tool calls") == "warning"


def test_reading_back_trimming_and_dates(folders):
    assert one(found(load_chat(folders(template="plain"))), "cannot be read back") == "warning"
    assert one(found(load_chat(folders(template="llama", bos_token="<s>"))), "trims white space") == "warning"
    dated = load_chat(folders(template=LOOP + PROMPT + "{% if false %}{{ strftime_now('%d') }}{% endif %}"))
    assert one(found(dated), "today's date") == "warning"


def test_useless_template_is_one_error(folders):
    findings = audit(load_chat(folders(template="{{ raise_exception('no') }}")))
    assert [f.severity for f in findings] == ["error"]
    assert "cannot be encoded" in findings[0].what and "no" in findings[0].what
