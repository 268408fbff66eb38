"""DPO as Llama 3 does it, in one flat file: what `burnish train dpo` computes, with nothing folded away.

    python examples/flat_dpo.py --model DIR --data pairs.jsonl --out DIR --lr 1e-5

Read it beside the engine. It pads where the engine packs, runs the full vocabulary where the engine runs the head on
trained tokens only, and keeps one long loop. Losses and weights agree with the engine's (tests/train/test_flat.py).
Only the chat format and its masks come from Burnish (`chat`): they are what a flat loop usually gets wrong.
"""

import argparse
import hashlib
import json
import math
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from burnish.chat import load_chat
from burnish.records import read_preferences

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True, help="folder with a chat template")
parser.add_argument("--data", required=True, help="prompt, chosen, rejected")
parser.add_argument("--out", required=True, help="folder for the weights and metrics.jsonl")
parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
parser.add_argument("--lr", type=float, default=1e-5)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch-rows", type=int, default=128)
parser.add_argument("--warmup", type=float, default=0.03)
parser.add_argument("--weight-decay", type=float, default=0.1)
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--beta", type=float, default=0.1)
parser.add_argument("--nll-weight", type=float, default=0.2)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()

# Rows as ids. Of each answer: which tokens are trained, and which of those only form the dialogue.
chat = load_chat(asked.model)
rows = []
for row in read_preferences(asked.data).rows:
    best, worst = row.candidates[0], row.candidates[-1]
    rows.append((row.id, [chat.encode(row.context, answer.messages) for answer in (best, worst)]))


def pad(values):
    longest = max(len(v) for v in values)
    return torch.tensor([[*v, *[0] * (longest - len(v))] for v in values])


def logprobs_of(model, pairs):
    """[2 P, L - 1] log p of each next token, and masks: trained, formatting. Pair p is rows 2 p and 2 p + 1."""
    answers = [answer for _, pair in pairs for answer in pair]
    ids, attention = pad([a.ids for a in answers]), pad([[1] * len(a.ids) for a in answers])
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    logprobs = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    trained = pad([a.trained for a in answers])[:, 1:].bool()
    formatting = pad([a.formatting for a in answers])[:, 1:].bool()
    return logprobs, trained, formatting


model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=getattr(torch, asked.dtype)).eval()
reference = AutoModelForCausalLM.from_pretrained(asked.model, dtype=getattr(torch, asked.dtype)).eval()

# AdamW: matrices decay, vectors do not.
matrices = [p for p in model.parameters() if p.ndim >= 2]
vectors = [p for p in model.parameters() if p.ndim < 2]
groups = [{"params": matrices, "weight_decay": asked.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=(0.9, 0.999), eps=1e-8)

# The order of an epoch is a hash of seed, epoch and row, so it does not depend on the order of the file.
stream = []
for epoch in range(asked.epochs):

    def place(row, epoch=epoch):
        key = "\0".join(str(part) for part in ("order", asked.seed, epoch, row[0], 0))
        return hashlib.blake2b(key.encode(), digest_size=16).digest()

    stream += sorted(rows, key=place)
batches = [stream[i : i + asked.batch_rows] for i in range(0, len(stream), asked.batch_rows)]

lines = []
for step, batch in enumerate(batches):
    # Linear warm-up, then a cosine to a tenth of the peak.
    rise = math.ceil(asked.warmup * len(batches))
    done = (step - rise) / max(1, len(batches) - rise)
    rate = asked.lr * (step + 1) / rise if step < rise else asked.lr * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)

    logprobs, trained, formatting = logprobs_of(model, batch)
    with torch.no_grad():
        before, _, _ = logprobs_of(reference, batch)

    # Log-ratios over the tokens that say something: terminators and headers are masked.
    ratio = ((logprobs - before) * (trained & ~formatting)).sum(1)
    margin = asked.beta * (ratio[0::2] - ratio[1::2])
    dpo = -torch.nn.functional.logsigmoid(margin).mean()

    # The chosen answer's negative log-likelihood keeps them: a token mean, then a mean over pairs.
    chosen, mask = logprobs[0::2], trained[0::2]
    nll = -((chosen * mask).sum(1) / mask.sum(1)).mean()
    loss = dpo + asked.nll_weight * nll

    adam.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), asked.clip)
    for group in adam.param_groups:
        group["lr"] = rate
    adam.step()
    lines.append(
        {"step": step + 1, "lr": rate, "loss": loss.item(), "grad_norm": norm.item(), "margin": margin.mean().item()}
    )
    print(f"step {step + 1} of {len(batches)}: loss {loss.item():.4f}, margin {margin.mean().item():+.4f}")

out = Path(asked.out)
model.save_pretrained(out)
(out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
