"""The asker of one item: it remembers what the item asked, so that it can be kept elsewhere too."""

from __future__ import annotations

from collections.abc import Callable

from burnish.llm.requests import Reply, Request
from burnish.llm.requests.kept import Kept
from burnish.llm.requests.request import key_of


class Missing(BaseException):
    """A reply that is not in the store, where nothing may be asked.

    No `Exception`: what works on an item may catch those, and this is none of its errors.
    """


class ItemAsker:
    """An `Asker` for one item.

    Args:
        identity: of who answers.
        kept: asks and keeps; None where only `known` may answer.
        known: key -> a reply that is there already, None where there is none.
    """

    def __init__(self, identity: str, kept: Kept | None, known: Callable[[str], Reply | None]) -> None:
        self.identity, self.kept, self.known = identity, kept, known
        self.asked: list[tuple[Request, Reply]] = []

    async def ask(self, request: Request) -> Reply:
        """The reply to a request.

        Raises:
            Missing: it is not known, and there is nobody to ask.
        """
        canonical = request.canonical()
        key = key_of(canonical)
        reply = self.known(key)
        if reply is None:
            if self.kept is None:
                raise Missing(key)
            reply = await self.kept.reply(key, request, canonical)
        self.asked.append((request, reply))
        return reply
