"""The nouns that pass between rooms, how they are stored, and the ecosystem's conventions for writing them.

Comes in: files of prompts, demonstrations and preferences. Goes out: frozen rows with ids. Imports the standard
library and pyarrow only.
"""

from burnish.records.answered import (
    AnsweredRow,
    AskedRow,
    UnreadRow,
    answered_row,
    passed_over,
    read_answered,
    read_asked,
    walk_answered,
    with_reference,
)
from burnish.records.any_rows import read_rows
from burnish.records.columns import with_columns
from burnish.records.conventions import ReadResult, read_demonstrations, read_documents, read_preferences, read_prompts
from burnish.records.nouns import (
    GRADES,
    ROLES,
    STRENGTHS,
    Attribute,
    Candidate,
    Demonstration,
    Document,
    Dropped,
    Judgement,
    Message,
    Preference,
    Prompt,
    Response,
    Rollout,
    Sampling,
    Score,
    Step,
    Weights,
    content_id,
    dropped,
    plain,
)
from burnish.records.table import from_plain, read_parquet, schema, write_jsonl, write_parquet
from burnish.records.weights import context_length, model_config, weights_in

__all__ = [
    "GRADES",
    "ROLES",
    "STRENGTHS",
    "AnsweredRow",
    "AskedRow",
    "Attribute",
    "Candidate",
    "Demonstration",
    "Document",
    "Dropped",
    "Judgement",
    "Message",
    "Preference",
    "Prompt",
    "ReadResult",
    "Response",
    "Rollout",
    "Sampling",
    "Score",
    "Step",
    "UnreadRow",
    "Weights",
    "answered_row",
    "content_id",
    "context_length",
    "dropped",
    "from_plain",
    "model_config",
    "passed_over",
    "plain",
    "read_answered",
    "read_asked",
    "read_demonstrations",
    "read_documents",
    "read_parquet",
    "read_preferences",
    "read_prompts",
    "read_rows",
    "schema",
    "walk_answered",
    "weights_in",
    "with_columns",
    "with_reference",
    "write_jsonl",
    "write_parquet",
]
