"""A base model gets a chat format, learns to stop, and is refused when it does not."""

import json
import math
from pathlib import Path

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import ChatError, ModelError
from burnish.models import load_causal, load_reward, new_reward
from burnish.records import Weights
from burnish.train import check_stop_trained, give_chat, train_reward, train_sft
from burnish.train.prepare_chat import padding_id
from tests.train.material import LOOP, demonstrations, folders, make_model, preferences


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("bare"), template=None)


@pytest.mark.parametrize(("format", "stop"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>")])
def test_adoption_resizes_to_the_mean_and_writes_stop_ids(bare, tmp_path, format, stop):
    with pytest.raises(ChatError, match="no chat template"):
        load_chat(bare.path)
    work = folders(tmp_path)
    outcome = give_chat(bare, format=format, work=work)
    assert "not trained yet" in outcome.metrics["notices"][0] and stop in outcome.metrics["notices"][0]
    chat = load_chat(work.folder)
    stop_id = chat.tokens.special_ids[stop]
    assert chat.stop_ids[0] == stop_id
    config, generation = (
        json.loads((Path(work.folder) / name).read_text()) for name in ("config.json", "generation_config.json")
    )
    assert stop_id in generation["eos_token_id"] and stop_id in config["eos_token_id"]
    old, new = load_causal(bare), load_causal(outcome.weights)
    rows, before = new.get_input_embeddings().weight, old.get_input_embeddings().weight
    count = before.shape[0]
    assert rows.shape[0] == chat.vocabulary > count and torch.equal(rows[:count], before)
    mean = before.double().mean(0).float()
    assert all(torch.allclose(rows[i], mean, atol=1e-6) for i in range(count, rows.shape[0]))
    assert new.get_output_embeddings().weight is rows or torch.equal(new.get_output_embeddings().weight, rows)
    assert not list(Path(bare.path).glob("chat_template*"))


def test_an_adopted_base_trains_and_comes_to_stop(bare, tmp_path):
    adopted = give_chat(bare, format="chatml", work=folders(tmp_path / "chat")).weights
    outcome = train_sft(adopted, demonstrations(), work=folders(tmp_path / "sft"), **LOOP | {"epochs": 6, "lr": 1e-2})
    before, after = (outcome.metrics[f"stop_probability_{when}"] for when in ("before", "after"))
    assert before < 0.05 and after > 5 * before


def test_spare_rows_that_become_tokens_start_at_the_mean(bare, tmp_path):
    from burnish.models import resize_vocabulary, save_model

    model = load_causal(bare)
    count = model.get_input_embeddings().weight.shape[0]
    resize_vocabulary(model, count + 64)
    with torch.no_grad():
        model.get_input_embeddings().weight[count:] = 7.0
    padded = save_model(model, tmp_path / "padded", tokenizer_from=bare.path)
    outcome = give_chat(padded, format="chatml", work=folders(tmp_path / "chat"))
    rows = load_causal(outcome.weights).get_input_embeddings().weight
    used = load_chat(outcome.weights.path).vocabulary
    assert rows.shape[0] == count + 64 > used > count
    assert torch.allclose(rows[count:used], rows[:count].double().mean(0).float().expand(used - count, -1), atol=1e-6)
    assert (rows[used:] == 7.0).all()


def test_a_stop_token_that_training_left_alone_is_refused():
    base = Weights(path="some/folder", id="x")
    check_stop_trained(before=1e-6, after=1e-5, base=base)  # weak, but taught
    check_stop_trained(before=0.97, after=0.95, base=base)  # known before, and still
    with pytest.raises(ModelError, match="not learned to stop"):
        check_stop_trained(before=1e-3, after=9e-4, base=base)
    with pytest.raises(ModelError, match="not learned to stop"):
        check_stop_trained(before=1e-3, after=math.nan, base=base)


def test_masking_the_terminator_is_noticed_after_training(base, tmp_path, monkeypatch):
    """The check sees a real mistake: terminators that are not trained."""
    from burnish.train.objectives import method

    real = method.selection

    def without_terminators(examples):
        formatting = torch.cat([torch.from_numpy(e.formatting) for e in examples])
        return real(examples) & ~formatting

    monkeypatch.setattr(method, "selection", without_terminators)
    with pytest.raises(ModelError, match="not learned to stop"):
        train_sft(base, demonstrations(), work=folders(tmp_path), **LOOP | {"epochs": 8, "lr": 1e-2})


def test_a_template_that_never_stops_is_refused_before_any_step(tmp_path):
    endless = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}" + (
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    base = make_model(tmp_path / "base", template=endless)
    rows = [r for r in demonstrations() if len(r.response) == 1]
    work = folders(tmp_path / "run")
    with pytest.raises((ModelError, ChatError), match="stop token"):
        train_sft(base, rows, work=work, **LOOP)
    assert work.told == []


def test_reward_models_pad_with_what_no_dialogue_holds(base, bare, tmp_path):
    """Where pad = eos, the class that reads the score would take a stop token for padding."""
    from transformers import AutoModelForSequenceClassification

    chat = load_chat(base.path)
    outcome = train_reward(base, preferences(), work=folders(tmp_path / "rm"), **LOOP)
    pad = json.loads((Path(outcome.weights.path) / "config.json").read_text())["pad_token_id"]
    row = preferences()[1]
    ids = [chat.encode(row.context, c.messages).ids for c in row.candidates]
    assert all(pad not in i for i in ids)
    model = AutoModelForSequenceClassification.from_pretrained(outcome.weights.path)
    longest = max(map(len, ids))
    padded = torch.tensor([[*i, *[pad] * (longest - len(i))] for i in ids])
    with torch.no_grad():
        together = model(padded, attention_mask=(padded != pad).long()).logits[:, 0]
        alone = torch.stack([model(torch.tensor([i])).logits[0, 0] for i in ids])
    assert torch.allclose(together, alone, atol=1e-5) and alone.std() > 1e-3
    load_reward(outcome.weights)


def test_a_tokenizer_that_pads_with_its_stop_token_gets_another_row(tmp_path):
    base = make_model(tmp_path / "base")
    config = json.loads((tmp_path / "base" / "tokenizer_config.json").read_text())
    config["pad_token"] = config["eos_token"]
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(config))
    chat, model = load_chat(base.path), new_reward(base)
    assert chat.tokens.named("pad_token") in chat.stop_ids
    pad = padding_id(chat, model)
    assert pad not in chat.emitted and pad not in chat.stop_ids
    assert pad < model.get_input_embeddings().weight.shape[0]
