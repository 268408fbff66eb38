"""What the sample browser shows: some prompts of each round, spread over abilities, as JSON inside the page."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from burnish.report.reading import NARROW, bare
from burnish.report.samples import Answer, RoundSamples

PER_ROUND = 60  # prompts of a round that are embedded
BYTES = 3_000_000  # of JSON, over all rounds, so that the page stays below 5 MB
LONGEST = 2000  # characters of one text; longer ones are cut and say so
SEED = "burnish report"


def embedded(data: Any) -> Markup:
    """JSON that no HTML parser can leave: `<`, `>`, `&` and the two line separators are written as escapes."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def spread(samples: RoundSamples, count: int) -> list[str]:
    """Ids of at most `count` prompts: abilities in turn, inside an ability by a seeded hash; sorted by ability."""
    shelves: dict[str, list[str]] = {}
    for prompt_id in samples.answers:
        prompt = samples.prompts.get(prompt_id)
        shelves.setdefault(prompt.ability if prompt else "", []).append(prompt_id)
    for shelf in shelves.values():
        shelf.sort(key=lambda name: hashlib.blake2b(f"{SEED}:{name}".encode(), digest_size=8).hexdigest())
    taken: list[str] = []
    for depth in range(max(map(len, shelves.values()), default=0)):
        for ability in sorted(shelves):
            if depth < len(shelves[ability]) and len(taken) < count:
                taken.append(shelves[ability][depth])
    return taken


def cut(text: str) -> str:
    """The text, or its beginning and a word that it was cut."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … (cut; {len(text) - LONGEST} more characters)"


def finite(value: float | None) -> float | None:
    """A number that JSON has, rounded; None for any other."""
    return round(value, 4) if value is not None and math.isfinite(value) else None


def _answer(answer: Answer, choice: str) -> dict[str, Any]:
    said = [{"role": m.role, "text": cut(m.content)} for m in answer.row.messages]
    return {
        "index": answer.row.index,
        "messages": said,
        "score": finite(answer.score),
        "unscored": bare(answer.unscored),
        "length": answer.length,
        "finish": answer.row.finish,
        "state": answer.state,
        "at": answer.at,
        "reason": bare(answer.reason)[:200],
        "detail": bare(answer.detail)[:300],
        "best": bool(choice) and choice in answer.passed,
    }


def _entry(samples: RoundSamples, prompt_id: str) -> dict[str, Any]:
    prompt = samples.prompts.get(prompt_id)
    return {
        "round": samples.round,
        "id": prompt_id,
        "ability": prompt.ability if prompt else "",
        "language": prompt.language if prompt else "",
        "difficulty": finite(prompt.difficulty) if prompt else None,
        "tags": list(prompt.tags) if prompt else [],
        "reference": cut(prompt.reference) if prompt else "",
        "messages": [{"role": m.role, "text": cut(m.content)} for m in prompt.messages] if prompt else [],
        "answers": [_answer(answer, samples.choice) for answer in samples.answers[prompt_id]],
    }


def round_entries(samples: RoundSamples, rounds: int) -> list[dict[str, Any]]:
    """The embedded prompts of a round, as many as its share of the bytes allows; by ability, then as sampled."""
    budget, entries = BYTES // max(rounds, 1), []
    for prompt_id in spread(samples, PER_ROUND):
        entry = _entry(samples, prompt_id)
        budget -= len(embedded(entry).encode("utf-8"))
        if budget < 0 and entries:
            break
        entries.append(entry)
    order = {prompt_id: place for place, prompt_id in enumerate(samples.answers)}
    return sorted(entries, key=lambda entry: (entry["ability"], order[entry["id"]]))


def browser(
    entries: Sequence[dict[str, Any]], sampled: dict[str, int], in_tokens: bool, *, fresh: int = 0
) -> dict[str, Any]:
    """What the template needs: the data, and how much of all it is.

    Args:
        fresh: entries of trainings on fresh answers, which hold some answers to a prompt and not every one.
    """
    whole = sum(sampled.values())
    part = f"{len(entries)} of {whole:,} sampled prompts".replace(",", NARROW)
    data = embedded({"entries": list(entries), "unit": "tokens" if in_tokens else "words"})
    return {"json": data, "part": part, "any": bool(entries), "fresh": fresh > 0, "others": len(entries) > fresh}
