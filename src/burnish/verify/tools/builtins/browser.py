"""A browser over stored pages, after GLM-4's simple_browser (spec G17): search, open, click, scroll, find, links.

A page that was opened has a number; what is taken from it is cited as 【number†title】, and `citations` says which
numbers of an answer lead to an opened page.
"""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

from burnish.errors import DataError
from burnish.verify.tools.builtins.search import Bm25, snippet, tokens

WINDOW = 2_000  # ASSUMED: characters of a page that are shown at once
RESULTS = 10  # ASSUMED
CLICKS = 10  # GLM-4: 3 to 10 pages at once
_CITATION = re.compile(r"【(\d+)†[^】]*】")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stored page: its address, title, text, and links as (text, address)."""

    url: str
    title: str
    text: str
    links: tuple[tuple[str, str], ...] = ()


class _Reader(html.parser.HTMLParser):
    SKIPPED = frozenset(("script", "style", "noscript", "template", "head"))
    BLOCKS = frozenset(("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"))

    def __init__(self) -> None:
        super().__init__()
        self.title, self.parts, self.links = "", [], []
        self._skip, self._titled, self._link = 0, False, None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._titled = True
        elif tag in self.SKIPPED:
            self._skip += 1
        elif tag == "a" and (target := dict(attrs).get("href")):
            self._link = [target, ""]
        elif tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._titled = False
        elif tag in self.SKIPPED:
            self._skip = max(0, self._skip - 1)
        elif tag == "a" and self._link:
            self.links.append((" ".join(self._link[1].split()), self._link[0]))
            self._link = None
        elif tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._titled:
            self.title += data
        elif not self._skip:
            self.parts.append(data)
            if self._link:
                self._link[1] += data


def page_of_html(url: str, source: str) -> Page:
    """A page from its HTML: text of the visible elements, links made absolute."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    links = tuple((text, urldefrag(urljoin(url, target))[0]) for text, target in reader.links)
    return Page(url=url, title=" ".join(reader.title.split()) or url, text="\n".join(filter(None, lines)), links=links)


class Browser:
    """Pages given as data, and a place in one of them. One browser is one reader: it is not for several threads.

    Give a model its methods: `Registry(browser.search, browser.open_url, browser.mclick, browser.scroll,
    browser.find, browser.links)`.
    """

    def __init__(self, pages: Iterable[Page], *, window: int = WINDOW) -> None:
        self._pages = {urldefrag(page.url)[0]: page for page in pages}
        if not self._pages:
            raise DataError("the browser has no page; give it one or more")
        self._order = list(self._pages.values())
        self._index = Bm25([f"{page.title} {page.text}" for page in self._order])
        self._window = window
        self._results: list[Page] = []
        self._opened: list[Page] = []
        self._here: Page | None = None
        self._at = 0

    def search(self, query: str) -> str:
        """Search the pages; results are numbered for mclick.

        Args:
            query: words to look for.
        """
        self._results = [self._order[place] for place, _ in self._index.rank(query)[:RESULTS]]
        words = set(tokens(query))
        lines = [
            f"[{number}] {page.title} ({page.url})\n{snippet(page.text, words)}"
            for number, page in enumerate(self._results)
        ]
        return "\n".join(lines) or "nothing found"

    def mclick(self, ids: list[int]) -> str:
        """Open results of the last search by their numbers and show the beginning of each.

        Args:
            ids: numbers of results.
        """
        if not 0 < len(ids) <= CLICKS:
            raise DataError(f"{len(ids)} numbers; give 1 to {CLICKS}")
        for number in ids:
            if not 0 <= number < len(self._results):
                raise DataError(f"there is no result {number}; the last search has 0 to {len(self._results) - 1}")
        return "\n\n".join(self._open(self._results[number]) for number in ids)

    def open_url(self, url: str) -> str:
        """Open a page by its address and show its beginning.

        Args:
            url: an address, whole or relative to the page that is open.
        """
        whole = urldefrag(urljoin(self._here.url, url) if self._here else url)[0]
        if whole not in self._pages:
            raise DataError(f"there is no page {whole[:200]}; search for it, or follow a link")
        return self._open(self._pages[whole])

    def scroll(self, pages: int = 1) -> str:
        """Show another part of the open page.

        Args:
            pages: how many screens further down; negative is up.
        """
        here = self._current()
        last = max(0, (len(here.text) - 1) // self._window * self._window)
        self._at = min(max(0, self._at + pages * self._window), last)
        return self._show()

    def find(self, text: str) -> str:
        """Find the next place of a text in the open page, after the part that is shown, then from its start.

        Args:
            text: what to look for, whatever its case.
        """
        here = self._current()
        if not text.strip():
            raise DataError("the text to find is blank")
        place = re.search(re.escape(text), here.text[self._at + 1 :], re.IGNORECASE)
        start = place.start() + self._at + 1 if place else -1
        if start < 0:
            again = re.search(re.escape(text), here.text, re.IGNORECASE)
            if again is None:
                return f"{text[:60]!r} is not in {here.title}"
            start = again.start()
        self._at = start
        return self._show()

    def links(self) -> str:
        """List the links of the open page."""
        found = [f"{text or '(no text)'}: {url}" for text, url in self._current().links]
        return "\n".join(found) or "the page has no links"

    def citations(self, answer: str) -> dict[int, str | None]:
        """Number of each citation 【number†...】 -> the address it leads to, None where it leads nowhere."""
        found = [int(number) for number in _CITATION.findall(answer) if len(number) < 10]
        return {number: self._opened[number].url if number < len(self._opened) else None for number in found}

    def _current(self) -> Page:
        if self._here is None:
            raise DataError("no page is open; open one first")
        return self._here

    def _open(self, page: Page) -> str:
        if page not in self._opened:
            self._opened.append(page)
        self._here, self._at = page, 0
        return self._show()

    def _show(self) -> str:
        here = self._current()
        part = here.text[self._at : self._at + self._window]
        number = self._opened.index(here)
        return f"【{number}†{here.title}】 {self._at} to {self._at + len(part)} of {len(here.text)} characters\n{part}"
