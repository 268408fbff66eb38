"""Tools that come along: a calculator, a Python session over an executor, search in a corpus, a browser of pages."""

from burnish.verify.tools.builtins.browser import Browser, Page, page_of_html
from burnish.verify.tools.builtins.calculator import calculator
from burnish.verify.tools.builtins.search import Bm25, Corpus
from burnish.verify.tools.builtins.session import PythonSession

__all__ = ["Bm25", "Browser", "Corpus", "Page", "PythonSession", "calculator", "page_of_html"]
