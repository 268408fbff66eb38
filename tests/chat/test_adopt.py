"""A base model's tokenizer with a chat format added: tokens, template, stop ids, pad, and the same in transformers."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GenerationConfig

from burnish.chat import adopt, audit, load_chat
from burnish.errors import ChatError
from tests.chat.dialogue_samples import ANSWER, ASK, CALL, RESULT, SYSTEM, said, save


def bare(folder, *, adds_bos=False, **named):
    """A byte-level base tokenizer with an end of text and nothing else."""
    from tokenizers import models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), ByteLevel()
    alphabet, specials = pre_tokenizers.ByteLevel.alphabet(), ["</s>", *(["<s>"] if adds_bos else [])]
    trainer = trainers.BpeTrainer(
        initial_alphabet=alphabet, special_tokens=specials, show_progress=False, vocab_size=300
    )
    tokenizer.train_from_iterator(["assistant user system hello"], trainer)
    return save(folder, tokenizer, adds_bos=adds_bos, **named)


LLAMA3 = "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|eom_id|> <|python_tag|>"
ADDED = {
    "llama3": [*LLAMA3.split(), "<|finetune_right_pad_id|>"],
    "chatml": ["<|im_start|>", "<|im_end|>", "<|im_pad|>"],
}


@pytest.mark.parametrize("format", list(ADDED))
@pytest.mark.parametrize("same_folder", [True, False])
def test_bare_tokenizer_gets_everything(tmp_path, format, same_folder):
    source = bare(tmp_path / "base")
    rows = Tokenizer.from_file(str(source / "tokenizer.json")).get_vocab_size()
    out = source if same_folder else tmp_path / "out"
    adopted = adopt(source, out, format)
    chat = load_chat(out)
    assert list(adopted.added) == ADDED[format]
    assert adopted.added_ids == tuple(range(rows, rows + len(adopted.added)))
    assert adopted.vocabulary == rows + len(adopted.added) == chat.vocabulary
    assert adopted.stop_ids == chat.stop_ids and adopted.stop_ids[-1] == 0  # the base's own end of text stays a stop
    assert adopted.pad_id == chat.pad_id and adopted.pad_id not in chat.emitted
    assert chat.format.name == format
    assert audit(chat, after_training=True) == []
    told = GenerationConfig.from_pretrained(out)
    assert tuple(told.eos_token_id) == adopted.stop_ids and told.pad_token_id == adopted.pad_id
    again = adopt(out, tmp_path / "again", format)
    assert again.added == () and again.vocabulary == adopted.vocabulary and again.stop_ids == adopted.stop_ids
    assert load_chat(tmp_path / "again").identity == chat.identity


@pytest.mark.parametrize("format", list(ADDED))
@pytest.mark.parametrize("adds_bos", [True, False])
def test_transformers_reads_the_same(tmp_path, format, adds_bos):
    adopt(bare(tmp_path / "base", adds_bos=adds_bos), tmp_path / "out", format)
    chat, other = load_chat(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    dialogue = (SYSTEM, ASK, CALL, RESULT, ANSWER)
    rows = [{"role": m.role, "content": m.content} for m in dialogue]
    ids = other.apply_chat_template(rows, tokenize=True, return_dict=False)
    assert list(chat.encode(dialogue[:2], dialogue[2:]).ids) == ids
    assert other.eos_token_id == chat.stop_ids[0] and other.pad_token_id == chat.pad_id
    assert ids.count(chat.bos_id) == (1 if adds_bos or format == "llama3" else 0)
    assert len(other) == chat.vocabulary
    other.save_pretrained(tmp_path / "saved")  # what other programs write is still the same format
    assert load_chat(tmp_path / "saved").encode(dialogue[:2], dialogue[2:]).ids == tuple(ids)
    assert load_chat(tmp_path / "saved").format.name == format


def test_a_fit_pad_token_is_kept_and_an_unfit_one_is_not(tmp_path):
    kept = adopt(bare(tmp_path / "a", pad_token="</s>"), tmp_path / "a2", "chatml")
    assert kept.pad_id == 0 and "<|im_pad|>" not in kept.added
    unknown = bare(tmp_path / "b", pad_token="</s>", unk_token="</s>")
    assert "<|im_pad|>" in adopt(unknown, tmp_path / "b2", "chatml").added


def test_own_bos_is_kept_and_generation_config_is_extended(tmp_path):
    source = bare(tmp_path / "base", adds_bos=True)
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": 5, "temperature": 0.5}))
    adopted = adopt(source, tmp_path / "out", "llama3")
    assert "<|begin_of_text|>" not in adopted.added
    chat = load_chat(tmp_path / "out")
    assert chat.encode_prompt((ASK,))[0] == chat.bos_id == 1
    told = json.loads((tmp_path / "out/generation_config.json").read_text("utf-8"))
    assert told["temperature"] == 0.5 and told["bos_token_id"] == 1
    assert (
        told["eos_token_id"] == [*adopted.stop_ids]
        and set(adopted.stop_ids) == {*chat.stop_ids}
        and 5 in adopted.stop_ids
    )


def test_any_earlier_template_is_replaced(tmp_path, folders):
    adopt(folders(template="gemma", bos_token="<s>"), tmp_path / "out", "chatml")
    chat = load_chat(tmp_path / "out")
    assert chat.format.name == "chatml"
    chat.encode((SYSTEM, ASK), (said("assistant", "ok"),))
    assert "chat_template" not in json.loads((tmp_path / "out/tokenizer_config.json").read_text("utf-8"))


def test_an_ordinary_added_token_becomes_structure(tmp_path, folders):
    spec = json.loads((folders() / "tokenizer.json").read_text("utf-8"))
    for token in spec["added_tokens"]:
        token["special"] = False
    adopted = adopt(save(tmp_path / "a", Tokenizer.from_str(json.dumps(spec))), tmp_path / "b", "chatml")
    assert adopted.added == ("<|im_pad|>",)
    other = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert {"<|im_start|>", "<|im_end|>"} <= {t.content for t in other.added_tokens_decoder.values() if t.special}


def test_refusals(tmp_path, folders):
    with pytest.raises(ChatError, match="no chat format 'alpaca'"):
        adopt(folders(), tmp_path / "x", "alpaca")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChatError, match="cannot be written"):
        adopt(folders(), tmp_path / "file", "chatml")
