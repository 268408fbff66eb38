"""GRPO as DeepSeekMath has it, in one flat file: what `burnish train grpo` computes, with nothing folded away.

    python examples/flat_grpo.py --model DIR --data prompts.jsonl --reward rewards.py --out DIR --rounds 10

`rewards.py` holds `def reward(prompt, completion)`, a number, or None where there is none: such an answer is left out,
which is not the same as 0. Read it beside the engine. It samples without a cache, pads where the engine packs, repeats
the prompt for each answer, and keeps one long loop. Losses and weights agree with the engine's
(tests/train/test_flat.py). From Burnish come the chat format (`chat`) and the stream of random numbers that an answer
is drawn with: the two draw the same answers.
"""

import argparse
import hashlib
import json
import runpy
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from burnish.chat import load_chat
from burnish.llm.local.randomness import key, uniforms
from burnish.records import read_prompts

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True, help="folder with a chat template")
parser.add_argument("--data", required=True, help="prompts")
parser.add_argument("--reward", required=True, help="a Python file with reward(prompt, completion)")
parser.add_argument("--out", required=True, help="folder for the weights and metrics.jsonl")
parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
parser.add_argument("--rounds", type=int, default=10)
parser.add_argument("--prompts", type=int, default=16, help="of a round")
parser.add_argument("--samples", type=int, default=64, help="answers to each prompt")
parser.add_argument("--updates", type=int, default=1, help="of a round; its groups are split among them")
parser.add_argument("--max-new-tokens", type=int, default=1024)
parser.add_argument("--lr", type=float, default=1e-6)
parser.add_argument("--beta", type=float, default=0.04)
parser.add_argument("--clip-ratio", type=float, default=0.2)
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--weight-decay", type=float, default=0.1)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()

chat, rows = load_chat(asked.model), read_prompts(asked.data).rows
reward = runpy.run_path(asked.reward)["reward"]
model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=getattr(torch, asked.dtype)).eval()
reference = AutoModelForCausalLM.from_pretrained(asked.model, dtype=getattr(torch, asked.dtype)).eval()
model.get_input_embeddings().padding_idx = None  # the padding token may be drawn, and is learned from like any other

# AdamW: matrices decay, vectors do not.
matrices = [p for p in model.parameters() if p.ndim >= 2]
vectors = [p for p in model.parameters() if p.ndim < 2]
groups = [{"params": matrices, "weight_decay": asked.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=asked.lr, betas=(0.9, 0.999), eps=1e-8)


def prompt_at(place):
    """The endless order: each pass over the prompts is sorted by a hash of seed, pass and prompt."""
    turn, index = divmod(place, len(rows))

    def hashed(row):
        text = "\0".join(str(part) for part in ("order", asked.seed, turn, row.id, 0))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    return sorted(rows, key=hashed)[index]


def draw(row, place, sample):
    """One answer, a token at a time: the first whose cumulated probability is above the token's random number."""
    ids, answer = list(chat.encode_prompt(row.messages)), []
    numbers = uniforms([key(asked.seed, f"{place}\x1f{row.id}", sample)], asked.max_new_tokens)[0]
    for number in numbers:
        with torch.no_grad():
            logits = model(torch.tensor([ids + answer])).logits[0, -1].double()
        cumulated = logits.softmax(-1).cumsum(-1)
        answer.append(int(torch.searchsorted(cumulated, number * cumulated[-1], right=True)))
        if answer[-1] in chat.stop_ids:
            break
    return ids, answer


def logprobs_of(policy, answers):
    """[R, L - 1] log p of each next token, and which of them the policy drew."""
    longest = max(len(ids) + len(answer) for ids, answer in answers)
    table, drawn = torch.zeros(len(answers), longest, dtype=torch.long), torch.zeros(len(answers), longest)
    attention = torch.zeros(len(answers), longest, dtype=torch.long)
    for place, (ids, answer) in enumerate(answers):
        end = len(ids) + len(answer)
        table[place, :end], attention[place, :end] = torch.tensor([*ids, *answer]), 1
        drawn[place, len(ids) : end] = 1
    logits = policy(input_ids=table, attention_mask=attention).logits[:, :-1]
    return logits.log_softmax(-1).gather(-1, table[:, 1:, None])[..., 0], drawn[:, 1:].to(logits.dtype)


lines = []
for number in range(asked.rounds):
    # Sample, reward, compare within the group. A group whose rewards are equal has nothing to learn from.
    kept = []
    for place in range(number * asked.prompts, (number + 1) * asked.prompts):
        row = prompt_at(place)
        answers = [draw(row, place, sample) for sample in range(asked.samples)]
        texts = [chat.decode(answer, completion=True)[-1].content for _, answer in answers]
        found = [(a, reward(row.messages[-1].content, text)) for a, text in zip(answers, texts, strict=True)]
        found = [(answer, value) for answer, value in found if value is not None]
        values = torch.tensor([value for _, value in found], dtype=torch.float64)
        if len(found) > 1 and values.max() > values.min():
            advantages = (values - values.mean()) / values.std(correction=0)
            kept.append([(answer, advantage) for (answer, _), advantage in zip(found, advantages, strict=True)])

    # Each update takes a share of the groups; the policy at the start of the round is measured for all of them first.
    size, more = divmod(len(kept), asked.updates)
    ends = [(part + 1) * size + min(part + 1, more) for part in range(asked.updates)]
    batches = [
        [one for group in kept[start:end] for one in group] for start, end in zip([0, *ends], ends, strict=False)
    ]
    with torch.no_grad():
        before = [[logprobs_of(p, [a for a, _ in b])[0] for p in (model, reference)] if b else None for b in batches]
    for batch, known in zip(batches, before, strict=True):
        if not batch:
            continue
        (old, base), advantages = known, torch.stack([advantage for _, advantage in batch])[:, None]
        logprobs, drawn = logprobs_of(model, [answer for answer, _ in batch])
        ratio = (logprobs - old).exp()
        clipped = ratio.clamp(1 - asked.clip_ratio, 1 + asked.clip_ratio)
        policy = -torch.minimum(ratio * advantages, clipped * advantages)
        # k3, an estimate of the divergence from the reference; then a mean over each answer's tokens, and over answers.
        kl = (base - logprobs).exp() - (base - logprobs) - 1
        loss = (((policy + asked.beta * kl) * drawn).sum(1) / drawn.sum(1)).mean()
        adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), asked.clip)
        adam.step()
        lines.append({"step": len(lines) + 1, "loss": loss.item(), "grad_norm": norm.item(), "answers": len(batch)})
        print(f"round {number + 1} of {asked.rounds}: loss {loss.item():+.4f} on {len(batch)} answers")

out = Path(asked.out)
model.save_pretrained(out)
(out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
