"""The lab formats: exact strings, masks, round trips, and the same ids from their Jinja twins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.chat import load_chat
from burnish.chat.formats import jinja
from burnish.chat.template import Template
from burnish.records import Message
from tests.chat.dialogue_samples import ANSWER, ASK, CALL, KINDS, LAST, RESULT, SPECIALS, SYSTEM, THANKS, WORDS, said

LAX = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
TEXT = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from([*SPECIALS, *WORDS, "\n", " ", "  ", "hello", "user\n", "12"])),
    max_size=5,
).map("".join)


@st.composite
def dialogues(draw, last_turns: int = 3) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """A context and the assistant's turn behind it, with tool calls in both."""

    def turn() -> list[Message]:
        messages = []
        for _ in range(draw(st.integers(0, 2))):
            messages.append(said("assistant", draw(TEXT), "message"))
            messages += [said("ipython", draw(TEXT)) for _ in range(draw(st.integers(1, 2)))]
        return [*messages, said("assistant", draw(TEXT))]

    context = [said("system", draw(TEXT))] if draw(st.booleans()) else []
    for index in range(draw(st.integers(1, last_turns))):
        context += [*(turn() if index else []), said("user", draw(TEXT))]
    return tuple(context), tuple(turn())


def names(chat, ids):
    return [chat.tokens.special_names.get(i, "") for i in ids]


def text_of(chat, ids):
    """Ids as the string they stand for, special tokens by name."""
    units = chat.tokens.units(ids, after_special=False)
    return "".join(u if isinstance(u, str) else chat.tokens.special_names[u] for u in units)


def test_llama3_writes_the_released_protocol(folders):
    chat = load_chat(folders(bos_token="<s>"), format="llama3")
    encoded = chat.encode((SYSTEM, ASK), (CALL, RESULT, ANSWER))
    assert text_of(chat, encoded.ids) == (
        "<s><|start_header_id|>system<|end_header_id|>\n\nYou are brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhat is 12 + 34?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n<|python_tag|>add(12, 34)<|eom_id|>"
        "<|start_header_id|>ipython<|end_header_id|>\n\n46<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe answer is 46.<|eot_id|>"
    )
    assert text_of(chat, chat.encode_prompt((ASK,))) == (
        "<s><|start_header_id|>user<|end_header_id|>\n\nWhat is 12 + 34?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_chatml_writes_im_start_and_im_end(folders):
    chat = load_chat(folders(), format="chatml")
    encoded = chat.encode((SYSTEM, ASK), (CALL, RESULT, ANSWER))
    assert text_of(chat, encoded.ids) == (
        "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nWhat is 12 + 34?<|im_end|>\n"
        "<|im_start|>assistant\nadd(12, 34)<|im_end|>\n<|im_start|>tool\n46<|im_end|>\n"
        "<|im_start|>assistant\nThe answer is 46.<|im_end|>\n"
    )
    assert chat.stop_ids[0] == chat.tokens.id_of("<|im_end|>")
    assert chat.stop_ids[-1] == chat.tokens.id_of("</s>")


def test_chatml_writes_bos_only_where_the_tokenizer_does(folders):
    with_bos = load_chat(folders(adds_bos=True), format="chatml").encode_prompt((ASK,))
    named = load_chat(folders(bos_token="<s>"), format="chatml").encode_prompt((ASK,))
    assert with_bos[1:] == named
    assert with_bos[0] == 1


@pytest.mark.parametrize(
    ("format", "trained"),
    [
        ("llama3", "<|python_tag|>add(12, 34)<|eom_id|>The answer is 46.<|eot_id|>"),
        ("chatml", "add(12, 34)<|im_end|>The answer is 46.<|im_end|>"),
    ],
)
def test_masks_of_a_response_with_a_tool_call(folders, format, trained):
    chat = load_chat(folders(), format=format)
    encoded = chat.encode((SYSTEM, ASK, said("assistant", "earlier"), ASK), (CALL, RESULT, ANSWER))
    picked = [i for i, t in zip(encoded.ids, encoded.trained, strict=True) if t]
    assert text_of(chat, picked) == trained
    content = [i for i, f in zip(encoded.ids, encoded.formatting, strict=True) if not f]
    assert (
        text_of(chat, content) == "You are brief.What is 12 + 34?earlierWhat is 12 + 34?add(12, 34)46The answer is 46."
    )
    assert not any(encoded.trained[: encoded.prompt_length])
    assert not any(t for t, role in zip(encoded.trained, encoded.roles, strict=True) if role != "assistant")
    if format == "chatml":  # the newline that nobody samples stands in the ids, untrained
        assert text_of(chat, encoded.ids[-2:]) == "<|im_end|>\n"
        assert encoded.trained[-2:] == (True, False)
        assert encoded.formatting[-2:] == (True, True)
        assert encoded.kinds[-2:] == ("terminator", "terminator")


@pytest.mark.parametrize("format", ["llama3", "chatml"])
@given(data=dialogues())
@LAX
def test_round_trip_and_invariants(folders, format, data):
    context, response = data
    chat = load_chat_once(folders, format)
    encoded = chat.encode(context, response)
    assert chat.decode(encoded.ids) == context + response
    assert chat.decode(encoded.completion) == response
    assert chat.decode(chat.encode_prompt(context)) == context
    assert encoded.prompt == chat.encode_prompt(context)
    assert encoded.formatting == tuple(kind != "content" for kind in encoded.kinds)
    specials = set(chat.tokens.special_names)
    assert not any(i in specials and k == "content" for i, k in zip(encoded.ids, encoded.kinds, strict=True))
    # Each assistant turn ends in exactly one end of turn, each call in exactly one end of message.
    stop = "<|eot_id|>" if format == "llama3" else "<|im_end|>"
    ends = [n for n, r in zip(names(chat, encoded.ids), encoded.roles, strict=True) if r == "assistant"]
    said_by = [m for m in context + response if m.role == "assistant"]
    turns = [m for m in said_by if m.end == "turn"] if format == "llama3" else said_by
    assert ends.count(stop) == len(turns)
    if format == "llama3":
        assert ends.count("<|eom_id|>") == ends.count("<|python_tag|>") == len(said_by) - len(turns)
    # Answering in steps gives the same ids as encoding the turn at once: what was sampled is what is trained.
    for index in range(2, len(response)):
        if response[index].role == "assistant":
            prompt = chat.encode_prompt(context + response[:index])
            assert encoded.ids[: len(prompt)] == prompt


CHATS: dict = {}


def load_chat_once(folders, format, kind="byte_level"):
    if (format, kind) not in CHATS:
        CHATS[format, kind] = load_chat(folders(kind), format=format)
    return CHATS[format, kind]


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("byte_level", "unigram")])
@pytest.mark.parametrize("format", ["llama3", "chatml"])
@given(data=dialogues(2))
@settings(LAX, max_examples=25)
def test_round_trip_on_sentencepiece_kinds(folders, format, kind, data):
    """With byte fallback, every text reads back but for what these tokenizers lose: the sign that stands for a space,
    and (`always`) the difference between a text and the text with a space before it, right after an added token."""

    def kept(text: str) -> str:
        text = text.replace("▁", "_")
        return re.sub(r"(^|>) +", r"\1", text) if kind == "metaspace_always" else text

    context, response = (tuple(said(m.role, kept(m.content), m.end) for m in messages) for messages in data)
    chat = load_chat_once(folders, format, kind)
    encoded = chat.encode(context, response)
    assert chat.decode(encoded.ids) == context + response
    assert chat.decode(encoded.completion) == response


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("format", ["llama3", "chatml"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_jinja_twin_gives_the_same_ids_in_transformers(folders, tmp_path, kind, format, adds_bos):
    from transformers import AutoTokenizer

    from burnish.chat import adopt

    adopt(folders(kind, adds_bos=adds_bos), tmp_path / "out", format)
    chat, other = load_chat(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert chat.format.name == format
    dialogue = (SYSTEM, ASK, CALL, RESULT, ANSWER, THANKS, said("assistant", "It is 100."))
    plain = [{"role": "tool" if m.role == "ipython" else m.role, "content": m.content} for m in dialogue]
    theirs = other.apply_chat_template(plain, tokenize=True, return_dict=False)
    assert list(chat.encode(dialogue[:-1], dialogue[-1:]).ids) == theirs
    prompt = other.apply_chat_template(plain[:-1], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert list(chat.encode_prompt(dialogue[:-1])) == prompt


def test_llama3_twin_obeys_an_explicit_end():
    template = Template(jinja("llama3", bos=False), {}, "x")
    rows = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "f()", "end": "turn"}]
    rows.append({"role": "tool", "content": "r"})
    assert "f()<|eot_id|>" in template.render(rows, generation=False)
    rows[1]["end"] = "message"
    assert "<|python_tag|>f()<|eom_id|>" in template.render(rows, generation=False)


@pytest.mark.parametrize("format", ["llama3", "chatml"])
def test_no_token_reaches_from_header_into_answer(folders, format):
    """The prompt ends between them when sampling, whatever the tokenizer would merge; so in every later turn."""
    chat = load_chat(folders(), format=format)
    assert len(chat.encode_text("\n\n\n")) == 1
    answer = said("assistant", "\nThe")
    first = chat.encode((ASK,), (answer,))
    assert first.prompt == chat.encode_prompt((ASK,))
    assert chat.decode(first.completion) == (answer,)
    assert chat.encode_prompt((ASK, answer, THANKS))[: len(first.ids)] == first.ids
    steps = chat.encode((ASK,), (CALL, RESULT, answer))
    prompt = chat.encode_prompt((ASK, CALL, RESULT))
    assert steps.ids[: len(prompt)] == prompt
    assert steps.ids[len(prompt) :] == first.completion


def test_a_token_over_header_and_question_counts_as_content(folders):
    """In a given message the tokenizer may merge across, as it will when the model is served."""
    chat = load_chat(folders(), format="llama3")
    encoded = chat.encode((said("user", "\nhi"),), (ANSWER,))
    of_user = [i for i, r in enumerate(encoded.roles) if r == "user"]
    merged = chat.encode_text("\n\n\n")[0]
    place = next(i for i in of_user if encoded.ids[i] == merged)
    assert encoded.kinds[place] == "content" and not encoded.formatting[place] and not encoded.trained[place]
    assert chat.decode(encoded.ids) == (said("user", "\nhi"), ANSWER)


def test_sampled_fragments_never_raise(folders):
    chat = load_chat(folders(), format="llama3")
    word = chat.tokens.encode_text("hello")
    of = chat.tokens.id_of
    assert chat.decode(()) == ()
    assert chat.decode((of("<|eot_id|>"),)) == (said("assistant", ""),)
    assert chat.decode(word) == (said("assistant", "hello"),)
    assert chat.decode((of("<|python_tag|>"), *word, of("<|eom_id|>"))) == (said("assistant", "hello", "message"),)
    stray = (*word, of("<|end_header_id|>"), *word, of("<|eot_id|>"))
    assert chat.decode(stray) == (said("assistant", "hello<|end_header_id|>hello"),)
    behind = (*word, of("<|eot_id|>"), *word)
    assert [m.content for m in chat.decode(behind)] == ["hello", "hello"]
    assert chat.decode((*word, of("</s>"))) == (said("assistant", "hello"),)  # a base model's own end of text
    forged = (of("<|start_header_id|>"), *chat.tokens.encode_text("user"), of("<|end_header_id|>"), *word)
    assert chat.decode(forged, completion=True)[0].content == "<|start_header_id|>user<|end_header_id|>hello"
    beyond = chat.vocabulary + 5
    assert chat.decode((*word, beyond)) == (said("assistant", "hello"),)


def test_llama3_without_call_tokens_refuses_calls(tmp_path, folders):
    import json

    from tokenizers import Tokenizer

    from burnish.errors import ChatError
    from tests.chat.dialogue_samples import save

    spec = json.loads((folders() / "tokenizer.json").read_text("utf-8"))
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] not in ("<|eom_id|>", "<|python_tag|>")]
    chat = load_chat(save(tmp_path, Tokenizer.from_str(json.dumps(spec))), format="llama3")
    chat.encode((ASK,), (ANSWER,))
    with pytest.raises(ChatError, match="eom_id"):
        chat.encode((ASK,), (CALL, RESULT, ANSWER))


def test_text_and_encode_text(folders):
    chat = load_chat(folders(adds_bos=True), format="chatml")
    ids = chat.encode_text("hello <|im_end|> there")
    assert ids[0] == chat.bos_id
    assert chat.text(ids) == "hello <|im_end|> there"
    assert chat.tokens.id_of("<|im_end|>") not in ids
    assert chat.text(chat.encode((ASK,), (LAST,)).completion) == LAST.content + "\n"


@given(ids=st.lists(st.integers(0, 430), max_size=30))
@LAX
def test_any_ids_read_as_a_completion(folders, ids):
    """Random weights sample anything; it must come back as messages, and the first is the assistant's."""
    for format in ("llama3", "chatml"):
        messages = load_chat_once(folders, format).decode(ids, completion=True)
        assert not ids or all(i >= 420 for i in ids) or messages[0].role == "assistant"


def test_the_example_of_the_documentation_runs():
    document = (Path(__file__).parents[2] / "docs/chat.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", document, re.S)
    exec(block, {})
