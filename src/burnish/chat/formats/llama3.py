"""Llama 3's message protocol (The Llama 3 Herd of Models §4.1.1; tokens as released; spec §3.2).

    <|begin_of_text|><|start_header_id|>user<|end_header_id|>

    2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>

    <|python_tag|>2+2<|eom_id|><|start_header_id|>ipython<|end_header_id|> ...

`eot` ends a turn, `eom` ends a message of a turn that goes on (a tool call). Tool switches ("Environment: ipython",
"Tools: ...") are lines of the system prompt's content.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.chat.formats.headed import Headed
from burnish.chat.pieces import Frame
from burnish.chat.reading import Structure
from burnish.chat.tokens import Source
from burnish.errors import ChatError
from burnish.records import Message

BOS = "<|begin_of_text|>"
START, END = "<|start_header_id|>", "<|end_header_id|>"
EOT, EOM, PYTHON = "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"
PAD = "<|finetune_right_pad_id|>"

ROUTINE = (START, END, EOT)  # what no dialogue can do without
CALLS = (EOM, PYTHON)


class Llama3(Headed):
    """The format on a given tokenizer, whose own BOS is used where it has one.

    DEVIATION: Llama 3 always begins with `<|begin_of_text|>`; a base that was pre-trained with another BOS keeps it.
    """

    name = "llama3"
    calls_by_successor = False

    def __init__(self, source: Source) -> None:
        missing = [token for token in ROUTINE if token not in source.added]
        if missing:
            raise ChatError(
                f"{source.folder} lacks the token {missing[0]} of the llama3 format; "
                "let the run add it to the base model with --chat llama3"
            )
        self._folder = source.folder
        self.bos = source.named.get("bos_token") or (BOS if BOS in source.added else "")
        self._can_call = all(token in source.added for token in CALLS)
        self.control = tuple(t for t in (BOS, *ROUTINE, *CALLS, PAD) if t in source.added)
        self.stops = (EOT, EOM) if self._can_call else (EOT,)

    @staticmethod
    def header(role: str) -> str:
        return f"{START}{role}{END}\n\n"

    def frames(self, messages: Sequence[Message]) -> list[Frame]:
        """One frame per message; a call opens with the python tag and ends in eom."""
        frames = []
        for index, message in enumerate(messages):
            call = message.end == "message"
            if call and not self._can_call:
                raise ChatError(
                    f"message {index + 1} is a tool call, but {self._folder} lacks {EOM} or {PYTHON}; "
                    "let the run add them with --chat llama3, or end the message with 'turn'"
                )
            frames.append(
                Frame(
                    header=self.opening(index, message.role),
                    lead=PYTHON if call else "",
                    content=message.content,
                    closing=EOM if call else EOT,
                )
            )
        return frames

    @property
    def structure(self) -> Structure:
        """What `decode` reads."""
        calls = (("", "message", EOM),) if self._can_call else ()
        return Structure(
            openings=self.openings(),
            leads=(("message", PYTHON),) if self._can_call else (),
            closings=(("", "turn", EOT), *calls),
            calls_by_successor=False,
        )
