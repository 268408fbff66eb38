"""Weights and packing: models in, numbers per token or per response out.

Comes in: folders in Hugging Face layout and rows of token ids. Goes out: log-probabilities of response tokens, reward
scores, and folders that plain transformers reads. Called by the sampler, merging, reward judging and training; knows no
objective. See docs/models.md for the pack, drawn, and for what is exact and what falls back.
"""

from burnish.models.load import (
    add_grades,
    device_named,
    dtype_named,
    grade_logits,
    load_causal,
    load_reward,
    locate,
    new_reward,
    resize_vocabulary,
)
from burnish.models.logprobs import (
    head_scores,
    response_scores,
    response_states,
    token_logits,
    token_logprobs,
    token_scores,
)
from burnish.models.pack import Pack, Row, build_pack, packed_tokens
from burnish.models.probe import prepare
from burnish.models.speed import matrix_rate
from burnish.models.store import copy_tokenizer, save_model, stop_ids, weights_of
from burnish.models.tensors import TensorWriter, read_tensor, stream_tensors, tensor_files
from burnish.models.tiny import tiny_model, tiny_model_folder, tiny_tokenizer

__all__ = [
    "Pack",
    "Row",
    "TensorWriter",
    "add_grades",
    "build_pack",
    "copy_tokenizer",
    "device_named",
    "dtype_named",
    "grade_logits",
    "head_scores",
    "load_causal",
    "load_reward",
    "locate",
    "matrix_rate",
    "new_reward",
    "packed_tokens",
    "prepare",
    "read_tensor",
    "resize_vocabulary",
    "response_scores",
    "response_states",
    "save_model",
    "stop_ids",
    "stream_tensors",
    "tensor_files",
    "tiny_model",
    "tiny_model_folder",
    "tiny_tokenizer",
    "token_logits",
    "token_logprobs",
    "token_scores",
    "weights_of",
]
