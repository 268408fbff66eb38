"""Malformed dialogues and folders: one clear sentence each, with the place and the fix."""

from __future__ import annotations

import json
import shutil

import pytest
from tokenizers import AddedToken

from burnish.chat import has_template, load_chat, load_tokens
from burnish.errors import ChatError
from tests.chat.dialogue_samples import ANSWER, ASK, CALL, KINDS, RESULT, SYSTEM, TEMPLATES, byte_level, said, save
from tests.chat.test_own import theirs


@pytest.mark.parametrize(
    ("context", "response", "match"),
    [
        ((said("tool", "x"),), (), r"message 1 has the unknown role 'tool'; use one of .*ipython"),
        ((said("user", "x", "later"),), (), r"message 1 \(user\) ends with 'later'"),
        ((said("user", "x", "message"),), (), "which only an assistant's tool call may"),
        ((ASK, CALL), (), "no ipython message follows"),
        ((ASK,), (CALL,), r"message 2 \(assistant\) ends with 'message' .* no ipython message follows"),
        ((ASK, CALL, ASK), (), "no ipython message follows"),
        ((ASK, RESULT), (), "does not follow an assistant's call"),
        ((RESULT,), (), "does not follow an assistant's call"),
        ((said("user", "a\ud800b"),), (), "lone surrogate at character 1"),
        ((ASK,), (ASK, ANSWER), "not the assistant's turn; put it into the context"),
        ((ASK, CALL), (RESULT, ANSWER), "begins and ends with an assistant message"),
        ((ASK,), (CALL, RESULT), "begins and ends with an assistant message"),
    ],
)
@pytest.mark.parametrize("format", ["llama3", "chatml"])
def test_malformed_dialogues_are_refused(folders, format, context, response, match):
    with pytest.raises(ChatError, match=match):
        load_chat(folders(), format=format).encode(context, response)


def test_a_result_after_a_finished_turn_needs_a_format_with_eom(folders):
    dialogue = (ASK, said("assistant", "<function=add>{}</function>"), RESULT, ANSWER)
    llama3 = load_chat(folders(), format="llama3")
    assert llama3.decode(llama3.encode(dialogue[:1], dialogue[1:]).ids) == dialogue
    for chat in (load_chat(folders(), format="chatml"), load_chat(folders(template="tools"))):
        with pytest.raises(ChatError, match="end the call with 'message'"):
            chat.encode(dialogue[:1], dialogue[1:])


def test_folders_that_cannot_be_used(folders, tmp_path):
    with pytest.raises(ChatError, match=r"has no chat template; pass --chat llama3 or --chat chatml") as raised:
        load_chat(folders())
    assert str(folders()) in str(raised.value)
    assert not has_template(folders()) and has_template(folders(template="llama"))
    with pytest.raises(ChatError, match="no chat format 'lama3'; did you mean llama3"):
        load_chat(folders(), format="lama3")
    with pytest.raises(ChatError, match="is not a folder"):
        load_chat(tmp_path / "nothing")
    with pytest.raises(ChatError, match=r"holds no tokenizer.json; .*save_pretrained"):
        load_chat(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{]")
    with pytest.raises(ChatError, match="cannot be read as JSON"):
        load_chat(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(ChatError, match="holds no JSON object"):
        load_chat(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ChatError, match="is not a tokenizer"):
        load_chat(tmp_path)


@pytest.mark.parametrize("format", ["llama3", "chatml"])
def test_missing_format_tokens_are_named(tmp_path, format):
    from tokenizers import Tokenizer, models

    folder = save(tmp_path, Tokenizer(models.BPE({"a": 0, "b": 1}, [])))
    with pytest.raises(ChatError, match=rf"lacks the token <\|.*--chat {format}"):
        load_chat(folder, format=format)


def test_tokenizer_without_pad_bos_or_eos(folders):
    chat = load_chat(folders(eos_token=""), format="chatml")
    assert chat.bos_id is None
    assert chat.stop_ids == (chat.tokens.id_of("<|im_end|>"),)
    assert chat.pad_id not in chat.emitted
    assert load_chat(folders(pad_token="<pad>"), format="chatml").pad_id == 0
    assert chat.encode((ASK,), (ANSWER,)).ids[0] == chat.tokens.id_of("<|im_start|>")


def test_stop_ids_come_from_format_generation_config_and_eos(folders, tmp_path):
    folder = tmp_path / "t"
    shutil.copytree(folders(template="llama", bos_token="<s>"), folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [8, 7, 99999]}))
    chat = load_chat(folder)
    assert chat.stop_ids == (7, 8, 2)  # <|eot_id|> of the template, <|eom_id|>, </s>; no id beyond the vocabulary


def test_identity_depends_on_what_decides_the_ids(folders, tmp_path):
    shutil.copytree(folders(template="chatml"), tmp_path / "moved")
    own = load_chat(folders(template="chatml"))
    assert own.identity == load_chat(tmp_path / "moved").identity
    others = [load_chat(folders(template="tools")), load_chat(folders(template="chatml"), format="chatml")]
    others.append(load_chat(folders("legacy", "chatml")))
    assert len({own.identity, *(o.identity for o in others)}) == 4


@pytest.mark.parametrize("strip", ["lstrip", "rstrip"])
def test_special_tokens_that_swallow_white_space(tmp_path, strip):
    """As Phi: a special token that takes the white space beside it along; the ids still equal transformers'."""
    tokenizer = byte_level()
    tokenizer.add_special_tokens([AddedToken("<|turn|>", special=True, normalized=False, **{strip: True})])
    template = (
        "{% for m in messages %}{{ m.role + ' \n<|turn|> \n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant \n<|turn|> \n' }}{% endif %}"
    )
    folder = save(tmp_path, tokenizer, template)
    chat = load_chat(folder)
    dialogue = (SYSTEM, ASK, ANSWER)
    assert list(chat.encode_prompt(dialogue[:-1])) == theirs(folder, dialogue[:-1], add_generation_prompt=True)
    assert list(chat.encode(dialogue[:-1], dialogue[-1:]).ids) == theirs(folder, dialogue)


def test_added_tokens_named_in_the_config_alone(tmp_path):
    folder = save(tmp_path, byte_level(), TEMPLATES["chatml"])
    before = load_chat(folder).vocabulary
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    token = {"content": "<extra>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
    config["added_tokens_decoder"] = {str(before): token}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    chat = load_chat(folder)
    assert chat.tokens.id_of("<extra>") == before
    assert chat.vocabulary == before + 1


@pytest.mark.parametrize("kind", list(KINDS))
def test_plain_text_for_base_models(folders, kind):
    tokens = load_tokens(folders(kind, adds_bos=True))
    ids = tokens.encode_text("hello there")
    assert ids[0] == tokens.named("bos_token")
    assert tokens.text(ids).removeprefix(" ") == "hello there"
    assert tokens.encode_text("hello there", bos=False) == ids[1:]
