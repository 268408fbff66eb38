"""Messages to token ids and back, with the masks that training needs. Without torch.

Comes in: a tokenizer folder, and dialogues (`burnish.records.Message`). Goes out: `Encoded` (ids with role, kind,
trained and formatting masks), prompts for samplers, messages parsed from sampled ids, findings about templates.
Called by the rooms above: llm, train, judge, evaluate, recipes, cli.

    pieces      Frame, Piece, Encoded: the values that pass through
    dialogue    what makes a dialogue well-formed
    tokens      a tokenizer folder; structure and content to ids and back
    template    a Jinja template in its sandbox
    formats/    llama3, chatml, and any tokenizer's own template
    reading     ids to messages
    codec       Chat, load_chat
    audit       what is wrong with a template, before it costs a training run
    adopt       a chat format for a base model that has none
"""

from burnish.chat.adopt import Adopted, adopt
from burnish.chat.audit import Finding, audit
from burnish.chat.codec import Chat, has_template, load_chat, load_tokens
from burnish.chat.pieces import Encoded
from burnish.chat.tokens import Tokens

__all__ = [
    "Adopted",
    "Chat",
    "Encoded",
    "Finding",
    "Tokens",
    "adopt",
    "audit",
    "has_template",
    "load_chat",
    "load_tokens",
]
