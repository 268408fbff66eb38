"""Every kind of constraint by its id: IFEval's 25, their Spanish, French, Japanese and Chinese forms, countable types
in the manner of CFBench and FollowBench, and the short plain ones."""

from __future__ import annotations

from burnish.verify.constraints.kind import Constraint
from burnish.verify.constraints.library.countable import countable_kinds
from burnish.verify.constraints.library.forms import count_kinds, mark_kinds, shape_kinds
from burnish.verify.constraints.library.japanese import japanese_kinds
from burnish.verify.constraints.library.keywords import keyword_kinds, language_kind, length_kinds
from burnish.verify.constraints.library.letters import case_kinds, french_kinds, punctuation_kinds, spanish_kinds
from burnish.verify.constraints.library.locale import LANGUAGES, Locale, locale
from burnish.verify.constraints.library.markdown import format_kinds
from burnish.verify.constraints.library.plain import PLAIN


def _kinds(at: Locale) -> list[Constraint]:
    """The IFEval types of one language, and those that only this language has."""
    kinds = [*keyword_kinds(at), language_kind(at), *length_kinds(at), *count_kinds(at), *mark_kinds(at)]
    kinds += [*shape_kinds(at), *punctuation_kinds(at), *([] if at.wide else case_kinds(at))]
    only = {"es": spanish_kinds, "fr": french_kinds, "ja": japanese_kinds}.get(at.code)
    return kinds + (only(at) if only else [])


IFEVAL_KINDS = _kinds(locale("en"))
COUNTABLE_KINDS = [*countable_kinds(locale("en")), *format_kinds(locale("en"))]
CONSTRAINTS: dict[str, Constraint] = {
    kind.id: kind
    for kind in (
        *PLAIN, *IFEVAL_KINDS, *(kind for code in LANGUAGES[1:] for kind in _kinds(locale(code))), *COUNTABLE_KINDS
    )
}  # fmt: skip
