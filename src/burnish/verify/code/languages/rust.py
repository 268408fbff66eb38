"""Rust: how candidate and tests are joined, and what a candidate may not hold.

The results of the candidate's functions must be of types whose comparison is the library's: a trait of our own, which
the candidate cannot name, is there for these and for the types that the problem or its tests name.
"""

from __future__ import annotations

import re

from burnish.errors import DataError
from burnish.verify.code.languages.cpp import scattered
from burnish.verify.code.languages.scan import IDENTIFIER, blanked, edit_body, main_body, without_comments, wrapped

_MAIN = r"\bfn\s+main\s*\(\s*\)"
_TYPE = re.compile(r"\b(?:struct|enum)\s+(\w+)")
_SHADOW = re.compile(r"\b(trait|union|mod|macro_rules!|type)\s+(\w+)|\buse\b[^;]*?(\bas)\s+(\w+)")
_REFUSED = re.compile(
    r"include(?:_str|_bytes)?!|/proc/|\bextern\b|no_mangle|export_name|link_section|#!\[|\bmod\s+std\b|\basm!|"
    r"\bPartial(?:Eq|Ord)\s*(?:<|as\b)|\bimpl\b[^{;]*\b(?:Add|Sub|Mul|Div|Rem|BitAnd|BitOr|BitXor)\s*<|\br#\w|"
    r"\\u\{"
)
_TRAIT = """
trait Plain@@ {}
#[inline] fn taken_@@<K: Plain@@>(k: K) -> K { k }
macro_rules! plain_@@ { ($($k:ty),*) => { $(impl Plain@@ for $k {})* } }
plain_@@!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, str,
    ::std::string::String, ::std::cmp::Ordering);
impl<K: Plain@@ + ?Sized> Plain@@ for &K {}
impl<K: Plain@@ + ?Sized> Plain@@ for &mut K {}
impl<K: Plain@@> Plain@@ for [K] {}
impl<K: Plain@@, const N: usize> Plain@@ for [K; N] {}
impl<K: Plain@@> Plain@@ for ::std::vec::Vec<K> {}
impl<K: Plain@@> Plain@@ for ::std::option::Option<K> {}
impl<K: Plain@@, E: Plain@@> Plain@@ for ::std::result::Result<K, E> {}
impl<K: Plain@@ + ?Sized> Plain@@ for ::std::boxed::Box<K> {}
impl<K: Plain@@ + ?Sized> Plain@@ for ::std::rc::Rc<K> {}
impl<K: Plain@@ + ?Sized> Plain@@ for ::std::sync::Arc<K> {}
impl<K: Plain@@> Plain@@ for ::std::cell::RefCell<K> {}
impl<K: Plain@@> Plain@@ for ::std::cell::Cell<K> {}
impl<K: Plain@@> Plain@@ for ::std::collections::VecDeque<K> {}
impl<K: Plain@@> Plain@@ for ::std::collections::LinkedList<K> {}
impl<K: Plain@@> Plain@@ for ::std::collections::BinaryHeap<K> {}
impl<K: Plain@@> Plain@@ for ::std::collections::BTreeSet<K> {}
impl<K: Plain@@> Plain@@ for ::std::collections::HashSet<K> {}
impl<K: Plain@@, V: Plain@@> Plain@@ for ::std::collections::BTreeMap<K, V> {}
impl<K: Plain@@, V: Plain@@> Plain@@ for ::std::collections::HashMap<K, V> {}
impl<A: Plain@@> Plain@@ for (A,) {}
impl<A: Plain@@, B: Plain@@> Plain@@ for (A, B) {}
impl<A: Plain@@, B: Plain@@, C: Plain@@> Plain@@ for (A, B, C) {}
impl<A: Plain@@, B: Plain@@, C: Plain@@, D: Plain@@> Plain@@ for (A, B, C, D) {}
"""


def rust_refused(code: str, tests: str) -> str:
    """What of a candidate's text its tests could not stand beside; empty when there is nothing."""
    if re.search(r"/\*(?:(?!\*/).)*/\*", code, re.DOTALL):
        return "a comment in a comment"
    bare, used = without_comments(code), set(IDENTIFIER.findall(tests)) | {"std", "assert_eq", "assert_ne", "assert"}
    if found := _REFUSED.search(bare):
        return found[0]
    if "macro_rules!" in bare and re.search(r"\bPartial(?:Eq|Ord)\b", re.sub(r"#\[derive\([^\]]*\]", "", bare)):
        return "PartialEq beside macro_rules!"
    for match in _SHADOW.finditer(bare):
        if match[2] in used or match[4] in used:
            return match[0]
    for match in re.finditer(r"\bimpl\b[^{;]*\bPartial(?:Eq|Ord)\s+for\s+(\w+)", bare):
        if match[1] in used:
            return match[0]
    for match in _TYPE.finditer(bare):
        if match[1] in used & _LIBRARY:
            return match[0]
    return ""


# What tests take from the library without a path.
_LIBRARY = frozenset(
    ["Vec", "String", "Option", "Some", "None", "Ok", "Err", "Result", "Box", "HashMap", "HashSet", "BTreeMap", "Rc",
     "BTreeSet", "VecDeque", "BinaryHeap", "LinkedList", "RefCell", "Cell", "Arc", "Ordering", "Default"]
)  # fmt: skip


def rust_program(prefix: str, code: str, tests: str, word: str) -> tuple[str, str]:
    """The whole program with its results' types checked, and without that check."""
    numbers, mark = ",".join(map(str, scattered(word))), word[8:16]
    say = "{ let n: &[u32] = &[%s]; let s: ::std::string::String = n.iter().enumerate().map(|(i, x)| "
    say += '::std::char::from_u32((x - 3 - 11 * (i as u32)) / 7).unwrap()).collect(); ::std::println!("{}", s); }'
    code = re.sub(r"\bfn\s+main\b", "fn burnish_example", code)  # a usage example is never called
    before, used = prefix + code, set(IDENTIFIER.findall(tests))
    body = main_body(tests, _MAIN)
    if body is None:
        raise DataError("the tests hold no `fn main()` that is closed; they must make the candidate a whole program")
    checks = bool(re.search(r"->", blanked(tests)[body[0] : body[1]]))
    ended = re.compile(r"(?:\bstd\s*::\s*)?\bprocess\s*::\s*exit\s*\(\s*0\s*\)")
    tests = edit_body(tests, body, lambda text: ended.sub("return" + (" Ok(())" if checks else ""), text))
    tests = re.sub(r"(?<![\w:])(assert(?:_eq|_ne)?)!", r"::std::\1!", tests)
    place = re.search(_MAIN, blanked(tests))
    assert place is not None
    tests = f"{tests[: place.start()]}fn burnish_main_{word[:8]}(){tests[place.end() :]}"
    tests += f"\nfn main() {{ burnish_main_{word[:8]}(){'.unwrap()' if checks else ''}; {say % numbers} }}\n"
    bare = blanked(before)
    types = [m[1] for m in _TYPE.finditer(bare) if m[1] in used and bare[m.end() : m.end() + 1] != "<"]
    trait = (_TRAIT + "".join(f"impl Plain@@ for {name} {{}}\n" for name in dict.fromkeys(types))).replace("@@", mark)
    names = (used & set(IDENTIFIER.findall(before))) | set(re.findall(r"\blet\s+(\w+)\s*=\s*\w+\s*;", tests))
    names -= set(types) | _LIBRARY
    checked = wrapped(tests, names, f"taken_{mark}(", ")")
    return f"{before}{checked}\n{trait}", before + tests
