"""An oracle in the place of people. Wherever it was used, rows say *simulated*."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from burnish.errors import WorkerError
from burnish.protocols import Annotator
from burnish.records import Judgement, Message, Prompt, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Lets an oracle rank and edit, and signs what it says with `simulated`.

    The oracle needs `rank`; with `edit` it repairs, with `knows(prompt)` it says for which prompts it has the truth.
    Without `knows`, a prompt has a known truth when it carries a reference.

    Raises:
        WorkerError: a prompt has no known truth; a simulation must not guess.
    """

    instant: ClassVar[bool] = True
    oracle: Annotator
    name: str = "simulated"

    def _refuse_unknown(self, prompt: Prompt) -> None:
        knows = getattr(self.oracle, "knows", None)
        if not (knows(prompt) if knows else prompt.reference):
            raise WorkerError(
                f"the simulated annotator has no known truth for prompt {prompt.id} ({prompt.source or 'no source'}); "
                "use a checker, a reward model or people for these prompts"
            )

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        self._refuse_unknown(prompt)
        return replace(self.oracle.rank(prompt, responses), judge=self.name, id="")

    def edit(self, prompt: Prompt, response: Response) -> Iterable[Message] | None:
        self._refuse_unknown(prompt)
        edit = getattr(self.oracle, "edit", None)
        return edit(prompt, response) if edit else None
