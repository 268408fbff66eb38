"""Packed against padded: useful tokens a second, forward and backward of log-probabilities, one CPU thread.

A 6-layer, 192-wide Llama (grouped heads, byte vocabulary). Rows are a prompt of about 40 tokens with two responses of
about 40. *Padded* is the plain form: one padded row per response, `sdpa` attention, full logits, log-softmax. Useful
tokens are those of the prompts (once) and responses. Runs alternate, and the ratio is of medians. About 90 seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import torch

from burnish.models import Row, build_pack, prepare, tiny_model, token_logprobs


def make_rows(count: int, spread: int, responses: int, vocabulary: int) -> list[Row]:
    """Rows with lengths 40 +- spread, seeded."""
    draw = random.Random(0)

    def some() -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(40 + draw.randint(-spread, spread)))

    return [Row(some(), tuple(some() for _ in range(responses))) for _ in range(count)]


def padded(model: torch.nn.Module, rows: list[Row]) -> torch.Tensor:
    """Log-probabilities of all response tokens by the plain form."""
    whole = [(row.prompt, response) for row in rows for response in row.responses]
    longest = max(len(prompt) + len(response) for prompt, response in whole)
    ids, mask, trained = (torch.zeros(len(whole), longest, dtype=torch.int64) for _ in range(3))
    for number, (prompt, response) in enumerate(whole):
        size = len(prompt) + len(response)
        ids[number, :size], mask[number, :size] = torch.tensor(prompt + response), 1
        trained[number, len(prompt) : size] = 1
    logits = model(ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    chosen = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return chosen[trained[:, 1:].bool()]


def seconds(model: torch.nn.Module, work: Callable[[], torch.Tensor]) -> float:
    """One forward and backward."""
    model.zero_grad(set_to_none=True)
    begin = time.perf_counter()
    work().sum().backward()
    return time.perf_counter() - begin


def compare(name: str, rows: list[Row], vocabulary: int, repeats: int) -> list[dict[str, object]]:
    """Rows of the result table for one set of rows."""
    shape = {"width": 192, "layers": 6, "intermediate_size": 512, "num_attention_heads": 6, "num_key_value_heads": 2}
    ours = tiny_model("llama", vocabulary=vocabulary, head_dim=32, **shape)
    theirs = tiny_model("llama", vocabulary=vocabulary, head_dim=32, **shape)
    theirs.set_attn_implementation("sdpa")
    prepare(ours)
    works = {
        "padded": lambda: padded(theirs, rows),
        "packed": lambda: token_logprobs(ours, build_pack(rows, share_prefix=False)),
        "shared": lambda: token_logprobs(ours, build_pack(rows)),
    }
    times: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(repeats + 1):
        for key, work in works.items():
            took = seconds(theirs if key == "padded" else ours, work)
            if turn:  # the first turn warms up
                times[key].append(took)
    useful = sum(len(row.prompt) + sum(map(len, row.responses)) for row in rows)
    medians = {key: statistics.median(values) for key, values in times.items()}
    detail = ", ".join(f"{key} {useful / value:,.0f} tokens/s" for key, value in medians.items())
    out: list[dict[str, object]] = []
    for key, bar in (("packed", 1.0), ("shared", 1.2)):
        ratio = round(medians["padded"] / medians[key], 2)
        out.append(
            {"name": f"{name}_{key}_vs_padded", "value": ratio, "bar": bar, "holds": ratio >= bar, "detail": detail}
        )
    return out


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table: list[dict[str, object]] = []
    sets = {
        "pairs_equal": (make_rows(options.rows, 0, 2, 260), 260),
        "pairs_mixed": (make_rows(options.rows, 25, 2, 260), 260),
        "sft_mixed": (make_rows(options.rows, 25, 1, 260), 260),
        "pairs_mixed_vocab4096": (make_rows(options.rows, 25, 2, 4096), 4096),
        "eight_mixed": (make_rows(options.rows // 4, 25, 8, 260), 260),
    }
    for name, (rows, vocabulary) in sets.items():
        if options.only in name:
            table += compare(name, rows, vocabulary, options.repeats)
    if options.json:
        print(json.dumps({"bench": "packed", "rows": table}))
        return
    for row in table:
        print(f"{row['name']:36} {row['value']:5.2f}x  (bar {row['bar']})  {row['detail']}")


if __name__ == "__main__":
    main()
