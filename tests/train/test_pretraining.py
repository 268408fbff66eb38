"""Raw text: what is trained of a document, that no document sees another, and what a mix draws."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from burnish.chat import load_tokens
from burnish.errors import DataError, ModelError, SettingsError
from burnish.models import load_causal, prepare, tiny_model_folder
from burnish.records import Document
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, train_rows
from burnish.train.batch import packs
from burnish.train.documents import cut_document, document_example, mixed_epochs, token_batches
from burnish.train.objectives import Pretraining
from tests.train.material import LOOP, documents, folders, make_model
from tests.train.test_whole_step import agree

BEGIN, END = 256, 257  # of `tiny_tokenizer`, whose other ids are bytes


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model without a chat template; its tokenizer writes a BOS and has a token for each byte."""
    return tiny_model_folder(tmp_path_factory.mktemp("plain"), scale=4.0)


def texts(*given: str, corpus: str = "") -> list[Document]:
    return [Document(text=text, corpus=corpus, source=f"s:{i}") for i, text in enumerate(given)]


def read(base, rows, *, max_length=256, **settings):
    method = Pretraining(**settings)
    examples, lost = method.read(load_tokens(base.path), rows, max_length=max_length, refuse_above=0.0)
    return method, examples, lost


def flat(example) -> list[int]:
    return [*example.row.prompt, *example.row.responses[0]]


def test_a_document_begins_with_bos_and_its_end_is_trained(plain):
    (example,) = cut_document(load_tokens(plain.path), texts("hi <|end|>")[0], max_length=64)
    assert flat(example) == [BEGIN, *b"hi <|end|>", END]  # a special token that a text spells out stays text
    assert example.row.prompt == (BEGIN,)
    assert example.trained.all() and example.trained_tokens == example.tokens - 1 == 11


def test_without_a_bos_the_first_token_is_read_only(base):
    tokens = load_tokens(base.path)
    (example,) = cut_document(tokens, texts("hello")[0], max_length=64)
    assert len(flat(example)) == 6 and flat(example)[-1] == tokens.named("eos_token")
    assert example.trained_tokens == 5


@pytest.mark.parametrize("length", [2, 3, 5, 12, 13, 64])
def test_pieces_train_each_token_once_whatever_their_length(plain, length):
    text = "abcdefghijk"
    pieces = cut_document(load_tokens(plain.path), texts(text)[0], max_length=length)
    trained = [token for piece in pieces for token in piece.row.responses[0]]
    assert trained == [*text.encode(), END]
    assert max(piece.tokens for piece in pieces) <= length
    assert all(a.row.responses[0][-1:] == b.row.prompt for a, b in pairwise(pieces))
    assert len(pieces) == -(-12 // (length - 1))


def loss_and_gradient(model, method, examples, units):
    model.zero_grad(set_to_none=True)
    total = 0.0
    for part in packs(examples, budget=10_000):
        loss, _ = method.part(model, part, units)
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_a_document_has_the_gradient_it_has_alone_whatever_stands_beside_it(plain):
    """All in one pack against transformers on each document alone; joined to one text, they must differ."""
    from transformers import AutoModelForCausalLM

    with computing(Compute(dtype="float64")):
        model = load_causal(plain, dtype="float64")
        assert prepare(model) is None
        method, examples, _ = read(plain, texts("one text", "another, longer one", "3rd"))
        units = method.units(examples)
        assert units == sum(len(row.text) + 1 for row in texts("one text", "another, longer one", "3rd"))
        together = loss_and_gradient(model, method, examples, units)
        joined = document_example("joined", tuple(token for example in examples for token in flat(example)))
        mingled = loss_and_gradient(model, method, [joined], units)
    other = AutoModelForCausalLM.from_pretrained(plain.path, dtype=torch.float64, attn_implementation="eager").eval()
    value = 0.0
    for example in examples:
        ids = torch.tensor([flat(example)])
        logprobs = other(input_ids=ids).logits[0, :-1].log_softmax(-1)
        loss = -logprobs.gather(-1, ids[0, 1:, None]).sum() / units
        loss.backward()
        value += loss.item()
    alone = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    agree(together, (value, alone))
    assert max((mingled[1][n] - g).norm() / g.norm() for n, g in alone.items()) > 1e-2


def test_an_epoch_holds_every_document_once_and_tokens_are_counted(plain, tmp_path):
    rows = [*texts("x" * 40, "a", "bc", corpus="a.jsonl"), *texts("defg", corpus="b.jsonl")]
    settings = LOOP | {"epochs": 3, "batch_rows": 2, "max_length": 16}
    outcome = train_rows(plain, rows, method="pretrain", work=folders(tmp_path), **settings)
    trained = sum(len(row.text) + 1 for row in rows)
    assert (outcome.taken, outcome.kept, outcome.dropped) == (4, 4, [])
    told = outcome.metrics
    assert told["tokens"] == 3 * trained and told["computed_tokens"] == 3 * (trained + 6)  # six pieces read one more
    assert (told["pieces"], told["documents_cut"], told["steps"]) == (6, 1, 9)
    share = (41 + 2 + 3) / trained
    assert told["mix"]["a.jsonl"] == {"tokens": 46, "trained": 138, "share": share, "passes": 3.0}
    assert told["mix"]["b.jsonl"]["trained"] == 15
    assert not list(Path(outcome.weights.path).glob("*.jinja"))


def mixed(plain, sizes, shares, epochs, seed=0):
    """Documents of the given lengths by corpus, and the epochs drawn of them."""
    rows = [
        Document(text="abcdefghij"[i % 10] * size, corpus=name, source=f"{name}:{i}")
        for name, lengths in sizes.items()
        for i, size in enumerate(lengths)
    ]
    method, examples, lost = read(plain, rows, mix=shares, epochs=epochs, seed=seed)
    where = {row.id: row.corpus for row in rows}
    return method, examples, lost, [[(where[examples[i].id], i) for i in epoch] for epoch in method.drawn]


def test_a_mix_draws_its_shares_of_the_tokens_in_every_epoch(plain):
    sizes = {"code": [9, 19, 4, 14, 9, 29, 9, 5], "talk": [19] * 12}  # 106 and 240 tokens with their ends
    method, examples, lost, epochs = mixed(plain, sizes, (0.6, 0.4), 6)
    whole = 106 / 0.6
    for done in range(1, 7):
        taken = Counter()
        for epoch in epochs[:done]:
            for name, index in epoch:
                taken[name] += examples[index].trained_tokens
        assert taken["code"] == done * 106
        assert abs(taken["talk"] - done * 0.4 * whole) <= 10  # half a text
    talk = [index for epoch in epochs for name, index in epoch if name == "talk"]
    assert all(len({i for name, i in epoch if name == "code"}) == 8 for epoch in epochs)
    counts = Counter(talk)
    assert len(counts) == 12 and max(counts.values()) - min(counts.values()) <= 1  # none twice before all were seen
    assert not lost
    told = method.counts["mix"]
    assert told["code"]["share"] == pytest.approx(0.6, abs=0.01) and told["code"]["passes"] == 6
    assert told["talk"]["trained"] == sum(examples[i].trained_tokens for i in talk)


def test_documents_that_a_mix_leaves_out_are_dropped_and_counted(plain, tmp_path):
    sizes = {"code": [9, 9], "talk": [9] * 10}
    _, examples, lost, epochs = mixed(plain, sizes, (0.5, 0.5), 1)
    assert len(lost) == 8 and {(row.reason, row.detail) for row in lost} == {("left out by the mix", "talk")}
    assert {examples[i].id for _, i in epochs[0]}.isdisjoint(row.parents[0] for row in lost)
    assert mixed(plain, sizes, (0.5, 0.5), 1)[3] == epochs != mixed(plain, sizes, (0.5, 0.5), 1, seed=1)[3]
    rows = texts("a" * 9, "b" * 9, corpus="code") + texts(*("cdefghijkl"[i] * 9 for i in range(10)), corpus="talk")
    outcome = train_rows(plain, rows, method="pretrain", mix=(0.5, 0.5), work=folders(tmp_path), **LOOP | {"epochs": 1})
    assert (outcome.taken, outcome.kept, len(outcome.dropped)) == (12, 4, 8)
    assert outcome.metrics["tokens"] == 40


def test_the_order_does_not_depend_on_the_order_of_the_rows(plain):
    rows = documents()
    drawn = []
    for given in (rows, [rows[0], *rows[:0:-1]]):
        method, examples, _ = read(plain, given, mix=(0.5, 0.5), epochs=2, seed=4)
        drawn.append([[examples[i].id for i in epoch] for epoch in method.drawn])
    assert drawn[0] == drawn[1] and drawn[0][0] != drawn[0][1]


def test_batches_of_tokens(plain):
    method, examples, _ = read(plain, texts("aaa", "bbbb", "c" * 30, "dd", "ee"), batch_tokens=10)
    batches = token_batches(examples, range(5), batch_tokens=10)
    assert batches == [[0, 1], [2], [3, 4]]  # 4 + 5, 31 alone, 3 + 3
    made = method.batches(examples, batch_rows=128, epochs=1, seed=0, length_group=0)
    assert sorted(i for batch in made for i in batch) == [0, 1, 2, 3, 4]
    assert all(sum(examples[i].trained_tokens for i in b) <= 10 or len(b) == 1 for b in made)


def test_a_mix_without_enough_of_one_corpus_repeats_nothing(plain):
    _, examples, _ = read(plain, documents())
    corpora = {"code": [0, 2], "talk": [1, 3, 5, 7, 9]}
    (epoch,) = mixed_epochs(examples, corpora, (0.1, 0.9), epochs=1, seed=0)
    assert {1, 3, 5, 7, 9} <= set(epoch) and len(epoch) == len(set(epoch))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mix": (0.5, 0.4)}, "mix is 0.5,0.4, which sums to 0.9"),
        ({"mix": (1.0,)}, "mix has 1 shares, and the data 2 files (code, talk)"),
        ({"mix": (1.0, 0.0)}, "each share must be above 0"),
        ({"batch_tokens": -1}, "batch_tokens is -1"),
        ({"max_length": 1}, "max_length is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(plain, settings, words):
    with pytest.raises(SettingsError, match=re.escape(words)):
        train_rows(plain, documents(), method="pretrain", **LOOP | settings)


def test_no_row_and_no_eos_are_refused(plain, tmp_path):
    with pytest.raises(DataError, match="0 of 0 training rows"):
        train_rows(plain, [], method="pretrain", **LOOP)
    from burnish.models import tiny_model, tiny_tokenizer

    tiny_tokenizer(tmp_path, specials=("<|begin|>",))
    tiny_model(vocabulary=257).save_pretrained(tmp_path)
    from burnish.models import weights_of

    with pytest.raises(ModelError, match="names no eos_token"):
        train_rows(weights_of(tmp_path), documents(), method="pretrain", **LOOP)


def test_text_is_learned_and_a_chat_model_keeps_its_template(tmp_path):
    base = make_model(tmp_path / "base")
    rows = documents()
    work = folders(tmp_path / "run")
    outcome = train_rows(base, rows, method="pretrain", work=work, **LOOP | {"epochs": 30, "lr": 1e-2})
    assert outcome.metrics["loss"] < outcome.metrics["first_loss"] / 4
    assert (Path(outcome.weights.path) / "chat_template.jinja").exists()
    assert METHODS["pretrain"].noun is Document
