"""C++: how candidate and tests are joined, and what a candidate may not hold.

The results of the candidate's functions must be of types whose comparison is the library's: numbers, texts, standard
containers of such, and classes that the problem or its tests name. A function of the library that the candidate
replaces shows in the symbols of the object file.
"""

from __future__ import annotations

import re

from burnish.errors import DataError
from burnish.verify.code.languages.scan import IDENTIFIER, blanked, edit_body, main_body, without_comments, wrapped

# Macros of the standard headers that tests may use; all other words of the tests are freed of the candidate's macros.
_MACROS = re.compile(r"^[A-Z][A-Z0-9_]*$")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]+)[>\"].*$", re.MULTILINE)
_EQUAL = re.compile(r"assert\((candidate\(.*\)) == (\(.*\))\);")
_MAIN = r"(?:\bint|\bauto|\bsigned)\s+main\s*\(([^)]*)\)"
_DEFINED = re.compile(r"#\s*define\s+(\w+)")
_TYPE = re.compile(r"\b(struct|class|union|enum(?:\s+class|\s+struct)?)\s+(\w+)")
_REFUSED = re.compile(
    r"(?<!using )\bnamespace\b[^;{}=]*\b(?:std|__\w+)\b|#\s*include\s*[\"<]/|\basm\b|__asm|/proc/|%:|\?\?[=/]|##|"
    r"__assert|\bNDEBUG\b|extern\s*\w*\"|#\s*define\s+\w+\s+\w*\"[^\"\n]*C|\btemplate\s*<\s*>|\b(?:struct|class|union)\s*(?:::)?\s*std\s*::|rel_ops|"
    r"fpermissive|_Pragma|#\s*pragma[^\n]*(?:diagnostic|weak|extname|_macro)|\b_*(?:sig)?(?:set|long)jmp\b|"
    r"\b(?:set|get|swap|make)context\b|\bsignal\s*\(|\bsigaction\b|\\u[0-9a-fA-F]{4}\w*\s*\("
)
_HARMLESS = re.compile(r"operator\s*(?:\(\s*\)|\[\s*\]|<<|>>|->|\+\+|--)\s*\(")
_MEMBER = re.compile(
    r"operator\s*(?:==|!=|<=|>=|<|>|=|\+=|-=|\*=|/=|%=|/|%)\s*\(\s*(?:const\s+)?(\w+)(?:\s+const)?\s*&{0,2}\s*\w*\s*\)"
)
_HEADERS = "array complex deque functional list map memory optional queue set stack string string_view tuple "
_HEADERS += "unordered_map unordered_set utility vector"
_PLAIN = """
#define assert(x) do { if (!(x)) { for (;;) __builtin_trap(); } } while (0)
namespace burnish_@@ {
template <class k> struct plain : std::bool_constant<std::is_arithmetic<k>::value || std::is_void<k>::value
    || std::is_null_pointer<k>::value> {};
template <class k> struct plain<const k> : plain<k> {};
template <class k> struct plain<k&> : plain<k> {};
template <class k> struct plain<k*> : plain<k> {};
template <class k, class... a> struct plain<k(a...)> : plain<k> {};
template <class k, class... a> struct plain<std::function<k(a...)>> : plain<k> {};
template <> struct plain<std::string> : std::true_type {};
template <> struct plain<std::string_view> : std::true_type {};
template <class k> struct plain<std::vector<k>> : plain<k> {};
template <class k> struct plain<std::deque<k>> : plain<k> {};
template <class k> struct plain<std::list<k>> : plain<k> {};
template <class k> struct plain<std::set<k>> : plain<k> {};
template <class k> struct plain<std::multiset<k>> : plain<k> {};
template <class k> struct plain<std::unordered_set<k>> : plain<k> {};
template <class k> struct plain<std::optional<k>> : plain<k> {};
template <class k> struct plain<std::complex<k>> : plain<k> {};
template <class k> struct plain<std::stack<k>> : plain<k> {};
template <class k> struct plain<std::queue<k>> : plain<k> {};
template <class k> struct plain<std::priority_queue<k>> : plain<k> {};
template <class k> struct plain<std::unique_ptr<k>> : plain<k> {};
template <class k> struct plain<std::shared_ptr<k>> : plain<k> {};
template <class k, std::size_t n> struct plain<std::array<k, n>> : plain<k> {};
template <class k, class v> struct plain<std::map<k, v>> : std::bool_constant<plain<k>::value && plain<v>::value> {};
template <class k, class v> struct plain<std::unordered_map<k, v>>
    : std::bool_constant<plain<k>::value && plain<v>::value> {};
template <class k, class v> struct plain<std::pair<k, v>> : std::bool_constant<plain<k>::value && plain<v>::value> {};
template <class... k> struct plain<std::tuple<k...>> : std::bool_constant<(plain<k>::value && ...)> {};
%s
struct taken {};
template <class k> k operator,(taken, k&& value) {
    static_assert(plain<k>::value, "burnish-unscored: the type of a result decides how it compares");
    return static_cast<k&&>(value);
}
}
"""


_OPERATORS = {"and", "and_eq", "bitand", "bitor", "compl", "not", "not_eq", "or", "or_eq", "xor", "xor_eq"}


def scattered(word: str) -> list[int]:
    """The word as numbers that are not its letters: the binary does not hold its text."""
    return [ord(letter) * 7 + 3 + 11 * index for index, letter in enumerate(word)]


def cpp_refused(code: str, tests: str) -> str:
    """What of a candidate's text its tests could not stand beside; empty when there is nothing."""
    bare, used = without_comments(code), set(IDENTIFIER.findall(tests))
    if found := _REFUSED.search(bare):
        return found[0]
    macros = set(_DEFINED.findall(bare))
    for name in sorted(macros & used):
        if _MACROS.match(name):
            return f"#define {name}"
    own = {match[2] for match in _TYPE.finditer(bare)} - macros - used
    for match in re.finditer(r"\boperator\b", blanked(bare)):
        member = _MEMBER.match(bare, match.start())
        if not (_HARMLESS.match(bare, match.start()) or (member and member[1] in own)):
            return bare[match.start() : match.start() + 16].strip()
    return ""


def _named_types(text: str, used: set[str]) -> list[str]:
    """Classes at the top level of a program that the tests name; templates are not among them."""
    bare, found = blanked(text), []
    for match in _TYPE.finditer(bare):
        before = bare[: match.start()]
        level = before.count("{") - before.count("}")
        if level == 0 and match[2] in used and not re.search(r"(?:>|<[^>]*|enum)\s*$", before):
            found.append(match[2])
    return list(dict.fromkeys(found))


def _say(word: str) -> str:
    numbers = ",".join(map(str, scattered(word)))
    text = "{ const int burnish_n[] = {%s}; int burnish_i = 0; for (int burnish_x : burnish_n) "
    text += "__builtin_putchar((burnish_x - 3 - 11 * burnish_i++) / 7); __builtin_putchar(10); }"
    return text % numbers


def cpp_program(prefix: str, code: str, tests: str, word: str) -> tuple[str, str]:
    """The whole program with its results' types checked, and without that check."""
    code = re.sub(r"\bmain\b", "burnish_example", code)  # a usage example is never called
    before, used = prefix + code, set(IDENTIFIER.findall(tests))
    tail = re.match(r"\s*\}", tests)
    head, tests = (tests[: tail.end()], tests[tail.end() :]) if tail else ("", tests)
    includes = "".join(f"{m[0].strip()}\n" for m in _INCLUDE.finditer(tests) if m[1] not in ("cassert", "assert.h"))
    tests = _INCLUDE.sub("", tests)
    tests = _EQUAL.sub(r"assert((std::equal_to<>{}(\1, \2)));", tests)
    body = main_body(tests, _MAIN)
    if body is None:
        raise DataError("the tests hold no `int main()` that is closed; they must make the candidate a whole program")
    tests = edit_body(
        tests, body, lambda text: re.sub(r"(?:\bstd\s*::\s*)?\b_?[eE]xit\s*\(", "return (", text) + "return 0;\n"
    )
    name, given = f"burnish_main_{word[:8]}", re.search(_MAIN, blanked(tests))
    assert given is not None
    asked = given[1].strip() not in ("", "void")
    tests = tests[: given.start()] + re.sub(r"\bmain\b", name, given[0]) + tests[given.end() :]
    given_to = "burnish_c, burnish_v" if asked else ""
    tests += f"\nint main(int burnish_c, char** burnish_v) {{ if ({name}({given_to}) != 0) return 1; {_say(word)} }}\n"
    types = "".join(f"template <> struct plain<::{n}> : std::true_type {{}};\n" for n in _named_types(before, used))
    check = _PLAIN.replace("@@", word[8:16]) % types
    aliases = {a for a, f in re.findall(r"\bauto\s*[&*]*\s*(\w+)\s*=\s*&?\s*(\w+)\s*;", tests)}
    names = (used & set(IDENTIFIER.findall(before))) | aliases
    checked = wrapped(tests, names - {name}, f"(burnish_{word[8:16]}::taken{{}}, ", ")")
    # An operator's name (and, or, ...) is no macro's, and what stands in a text of the tests is no name at all.
    found = IDENTIFIER.findall(blanked(checked) + check)
    words = {w for w in found if not _MACROS.match(w)} - {"define", "undef"} - _OPERATORS
    words |= set(_DEFINED.findall(without_comments(code)))
    guard = "".join(f"#undef {w}\n" for w in sorted(words))
    guard += "".join(f"#include <{h}>\n" for h in _HEADERS.split()) + includes + "#undef assert\n" + check
    return f"{before}{head}\n{guard}\n{checked}", f"{before}{head}\n{guard}\n{tests}"
