"""Toy step functions and a toy recipe, importable by worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from burnish.records import Message, Prompt, Response, dropped
from burnish.runs import Call, Compute, Outcome, Run


def make_prompts(count: int, *, salt: str) -> list[Prompt]:
    return [Prompt(messages=(Message(role="user", content=f"{salt} {i}"),), source=f"toy:{i}") for i in range(count)]


def answer(prompts: list[Prompt], *, batch: int, pause: float = 0.0, work=None) -> Outcome:
    """Answers in journaled batches; refuses every fifth prompt."""
    rows, drops = [], []
    for start in range(0, len(prompts), batch):
        key = f"batch-{start}"
        texts = work.journal.get(key)
        if texts is None:
            time.sleep(pause)
            texts = [p.messages[0].content[::-1] for p in prompts[start : start + batch]]
            work.journal.put(key, texts)
            with open(work.scratch / "paid", "a") as out:
                out.write(key + "\n")
        for index, text in enumerate(texts):
            prompt = prompts[start + index]
            if (start + index) % 5 == 4:
                drops.append(dropped(prompt, "fifth"))
            else:
                message = Message(role="assistant", content=text)
                rows.append(Response(prompt=prompt.id, messages=(message,), parents=(prompt.id,)))
        work.progress(start + len(texts), len(prompts))
    return Outcome(rows=rows, dropped=drops, taken=len(prompts), metrics={"texts": len(rows)})


def leaky(prompts: list[Prompt]) -> Outcome:
    return Outcome(rows=prompts[1:], taken=len(prompts))


def toy_recipe(folder: Path, *, pause: float = 0.0, workers: int = 1, **about) -> list:
    with Run(folder, compute=Compute(workers=workers), **about) as run:
        handles = []
        for number in (1, 2):
            with run.round(number):
                prompts = run.step("prompts", make_prompts, 23, salt=f"round {number}")
                calls = [
                    Call(
                        name=f"answers-{batch}",
                        function=answer,
                        inputs=(prompts,),
                        settings={"batch": batch, "pause": pause},
                    )
                    for batch in (3, 4)
                ]
                handles += run.together(*calls)
        return handles


if __name__ == "__main__":
    toy_recipe(Path(sys.argv[1]), pause=float(sys.argv[2]), workers=int(sys.argv[3]))
    if len(sys.argv) > 4:
        os.kill(os.getpid(), signal.SIGKILL)
