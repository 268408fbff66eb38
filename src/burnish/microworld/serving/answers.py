"""What the oracle says to a request that came over a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.microworld.judging import oracle_answers
from burnish.microworld.oracle import Oracle
from burnish.microworld.serving.operations import operation_in, read_record
from burnish.microworld.serving.reading import read_prompt
from burnish.records import Message, Prompt, Sampling

UNKNOWN = "I am the scripted oracle of a small world, and this question is not one of its own."

Respond = Callable[[Sequence[Message], Mapping[str, Any] | None], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the server has read it: the dialogue, the schema, and what tells samples apart."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    seed: int = 0
    index: int = 0


@dataclass(slots=True)
class OracleAnswers:
    """Answers with what the oracle knows: questions of this world, and judgements on answers to them.

    What it does not know gets one fixed, honest sentence, also where a schema is asked for: whoever reads it must find
    no verdict in it.

    Args:
        oracle: its seed and error rate hold for the answers.
        respond: asked first, with the messages and the schema; an empty string leaves the answer to the oracle.
    """

    oracle: Oracle = field(default_factory=Oracle)
    respond: Respond | None = None
    known: int = 0
    unknown: int = 0
    _judge: Mapping[str, Any] | None = None

    def answer(self, asked: Asked) -> str:
        """The text of one sample; JSON of the asked shape where there is a schema and the answer is known."""
        text = (self.respond(asked.messages, asked.schema) if self.respond else "") or self._known(asked)
        self.known += bool(text)
        self.unknown += not text
        return text or UNKNOWN

    def _known(self, asked: Asked) -> str:
        """What the oracle knows; empty when it does not."""
        if (operation := operation_in(asked.messages)) is not None:
            return self._judged(operation, asked.messages)
        prompt = read_prompt(asked.messages)
        if prompt is None:
            return ""
        text = self._told(prompt, asked)
        return text if asked.schema is None else json.dumps(instance(asked.schema, text), ensure_ascii=False)

    def _judged(self, operation: str, messages: Sequence[Message]) -> str:
        if self._judge is None:
            self._judge = oracle_answers(self.oracle)
        record, function = read_record(operation, messages), self._judge.get(operation)
        said = function(record) if record is not None and function is not None else None
        return "" if said is None else said if isinstance(said, str) else json.dumps(dict(said), ensure_ascii=False)

    def _told(self, prompt: Prompt, asked: Asked) -> str:
        # The index goes into the seed as one number, so that sample 3 of `n` and a request of its own are told apart.
        sampling = Sampling(temperature=1.0, max_new_tokens=1, seed=asked.seed * 1_000_003 + asked.index)
        return self.oracle.answer([prompt], n=1, sampling=sampling)[0].text


def instance(schema: Mapping[str, Any], text: str, root: Mapping[str, Any] | None = None) -> Any:
    """The plainest value that the schema allows; `text` is said in the first free string of it.

    Handles what pydantic writes: objects, arrays with a least length, enums, constants, references, unions, bounds.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        return instance(target, text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return instance(schema[union][0], text, root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, text, root)
    if kind == "array":
        return [instance(schema.get("items", {}), text, root) for _ in range(schema.get("minItems", 1))]
    if kind in ("integer", "number"):
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
        return least if kind == "integer" else float(least)
    return {"boolean": True, "null": None}.get(kind, text)


def _object(schema: Mapping[str, Any], text: str, root: Mapping[str, Any]) -> dict[str, Any]:
    wanted = set(schema.get("required", schema.get("properties", {})))
    made, said = {}, False
    for name, part in schema.get("properties", {}).items():
        if name not in wanted:
            continue
        made[name] = instance(part, "" if said else text, root)
        said = said or made[name] == text
    return made
