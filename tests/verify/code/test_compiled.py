"""Ordinary tests in compiled languages: right programs pass, candidates that decide their own verdict do not."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from burnish.protocols import Executor
from burnish.verify.code import Suite, candidate_of, probe, run_suite

CPP = "#include <cassert>\nint main(){ assert(f(2)==4); assert(f(3)==9); }"
CPP_IF = "int main(){ if(f(2)!=4) return 1; if(f(3)!=9) return 2; return 0; }"
RUST = "fn main() { assert_eq!(f(2), 4); assert_eq!(f(3), 9); }"
JAVA = "class Main { public static void main(String[] args) { if (new Solution().f(2) != 4) throw new RuntimeException(); } }"
SQUARE = "int f(int x) { return x * x; }"

# (language, candidate, tests, verdict): None is unscored, "no" is anything but a pass.
CASES = {
    "cpp right": ("cpp", SQUARE, CPP, True),
    "cpp wrong": ("cpp", "int f(int x) { return x + x; }", CPP, False),
    "cpp using std": ("cpp", "#include <vector>\nusing namespace std;\n" + SQUARE, CPP, True),
    "cpp main returns": ("cpp", SQUARE, CPP_IF, True),
    "cpp main returns, wrong": ("cpp", "int f(int x) { return x + x; }", CPP_IF, False),
    "cpp main exits": ("cpp", SQUARE, "#include <cstdlib>\nint main(int argc, char** argv){ if(f(2)!=4) exit(1); exit(0); }", True),
    "cpp example": ("cpp", SQUARE + "\nint main() { return f(2); }", CPP, True),
    "cpp own order": (
        "cpp",
        "#include <queue>\nstruct N { int v; bool operator<(const N& o) const { return v < o.v; } };\n"
        "int f(int x) { std::priority_queue<N> q; q.push({x}); return q.top().v * x; }",
        CPP,
        True,
    ),
    "cpp class": (
        "cpp",
        "class Solution { public: int f(int x) { return x * x; } };",
        "#include <cassert>\nint main() { Solution s; assert(s.f(2) == 4 && Solution().f(3) == 9); return 0; }",
        True,
    ),
    "cpp containers": (
        "cpp",
        "#include <vector>\n#include <string>\n#include <map>\nusing namespace std;\n"
        "map<string, vector<int>> f(int n) { return {{to_string(n), {n}}}; }\nvoid g(vector<int>& v) { v.push_back(1); }",
        "#include <assert.h>\nint main() { auto r = f(2); assert(r.at(\"2\")[0] == 2); for (auto& p : f(3)) assert(p.second == vector<int>{3});\n"
        "vector<int> v; g(v); assert(v.size() == 1); }",
        True,
    ),
    "cpp comment": ("cpp", "// no operator and no namespace std {} of its own\n" + SQUARE, CPP, True),
    "cpp NDEBUG": ("cpp", "#define NDEBUG\nint f(int) { return 0; }", CPP, "no"),
    "cpp NDEBUG by a header": ("cpp", "#define N\\\nDEBUG\nint f(int) { return 0; }", CPP, "no"),
    "cpp assert_fail": (
        "cpp",
        'extern "C" void __assert_fail(const char*,const char*,unsigned,const char*) noexcept {}\nint f(int) { return 0; }',
        CPP,
        "no",
    ),
    "cpp equality": ("cpp", "struct E{bool operator==(int)const{return true;}};\nE f(int){return {};}", CPP, None),
    "cpp inequality": ("cpp", "struct E{bool operator!=(int)const{return false;}};\nE f(int){return {};}", CPP_IF, None),
    "cpp conversion": ("cpp", "struct E{operator int()const{static int n=1; ++n; return n*n;}};\nE f(int){return {};}", CPP, None),
    "cpp own count": (
        "cpp",
        "struct S { int count(int) { return 1; } };\nS f(int) { return {}; }",
        "#include <cassert>\nint main() { assert(f(2).count(4)); }",
        None,
    ),
    "cpp comparator": (
        "cpp",
        "#include <set>\nstruct L { bool operator()(int, int) const { return false; } };\nstd::set<int, L> f(int) { return {0}; }",
        "#include <cassert>\nint main() { assert(f(2).count(4)); }",
        None,
    ),
    "cpp enum": (
        "cpp",
        "enum class E { a };\nbool operator==(E, int) { return true; }\nE f(int) { return E::a; }",
        CPP,
        None,
    ),
    "cpp pasted": ("cpp", "#define P(a, b) a##b\nstruct E { bool P(oper, ator) ==(int) const { return true; } };\nE f(int) { return {}; }", CPP, None),
    "cpp memcmp": (
        "cpp",
        "#include <cstring>\n#include <string>\nint memcmp(const void*, const void*, size_t) noexcept { return 0; }\nstd::string f(int) { return \"x\"; }",
        "#include <cassert>\n#include <string>\nint main() { assert(f(2) == std::string(\"y\")); }",
        "no",
    ),
    "cpp specialised": (
        "cpp",
        "#include <functional>\ntemplate <> struct std::less<int> { bool operator()(int, int) const { return false; } };\nint f(int) { return 0; }",
        CPP,
        None,
    ),
    "rust right": ("rust", "fn f(x: i32) -> i32 { x * x }\nfn main() { println!(\"{}\", f(1)); }", RUST, True),
    "rust wrong": ("rust", "fn f(x: i32) -> i32 { x + x }", RUST, False),
    "rust exits": ("rust", "fn f(x: i32) -> i32 { (x as i64 * x as i64) as i32 }", RUST.replace(" }", " std::process::exit(0); }"), True),
    "rust struct": (
        "rust",
        "struct Solution;\nimpl Solution { pub fn f(x: i32) -> Vec<i32> { vec![x * x] } }",
        "fn main() { assert_eq!(Solution::f(2), vec![4]); assert_eq!(Solution::f(3), [9]); }",
        True,
    ),
    "rust own order": (
        "rust",
        "use std::cmp::Ordering;\n#[derive(Eq)]\nstruct N(i32);\nimpl PartialEq for N { fn eq(&self, o: &N) -> bool { self.0 == o.0 } }\n"
        "impl PartialOrd for N { fn partial_cmp(&self, o: &N) -> Option<Ordering> { Some(self.0.cmp(&o.0)) } }\n"
        "fn f(x: i32) -> i32 { if N(x) < N(0) { 0 } else { x * x } }",
        RUST,
        True,
    ),
    "rust equality": (
        "rust",
        "#[derive(Debug)]\nstruct E;\nimpl PartialEq<i32> for E { fn eq(&self, _: &i32) -> bool { true } }\nfn f(_: i32) -> E { E }",
        RUST,
        None,
    ),
    "rust equality renamed": (
        "rust",
        "use std::cmp::PartialEq as P;\n#[derive(Debug)]\nstruct E;\nimpl P<i32> for E { fn eq(&self, _: &i32) -> bool { true } }\nfn f(_: i32) -> E { E }",
        RUST,
        None,
    ),
    "rust equality by a macro": (
        "rust",
        "macro_rules! m { ($t:ident) => { impl $t<i32> for E { fn eq(&self, _: &i32) -> bool { true } } } }\n#[derive(Debug)]\nstruct E;\nm!(PartialEq);\nfn f(_: i32) -> E { E }",
        RUST,
        None,
    ),
    "rust own contains": (
        "rust",
        "struct S;\nimpl S { fn contains(&self, _: &i32) -> bool { true } }\nfn f(_: i32) -> S { S }",
        "fn main() { assert!(f(2).contains(&4)); }",
        None,
    ),
    "java class": ("java", "public class Solution { public int f(int x) { return x * x; } }", JAVA, True),
    "java class, wrong": ("java", "public class Solution { public int f(int x) { return x + 1; } }", JAVA, False),
    "java example": (
        "java",
        "import java.util.*;\nclass Solution { int f(int x) { return x * x; } public static void main(String[] a) { System.out.println(1); } }",
        JAVA.replace("} }", "System.exit(0); } }"),
        True,
    ),
    "java own list": (
        "java",
        "import java.util.*;\nclass Solution { static List<Integer> f(int x) { return new ArrayList<>() { public boolean equals(Object o) { return true; } }; } }",
        "class Main { public static void main(String[] args) { assert Solution.f(2).equals(List.of(4)); } }",
        None,
    ),
    "js exports": ("javascript", "const f = (x) => x * x;\nmodule.exports = { f };", "if (f(2) !== 4) throw new Error('assert');", True),
    "js exported object": ("javascript", "module.exports = { f: (x) => x * x };", "if (f(2) !== 4) throw new Error('assert');", True),
    "js export": ("javascript", "export function f(x) { return x * x; }\nexport default f;", "if (f(2) !== 4) throw new Error('assert');", True),
    "js export, wrong": ("javascript", "export function f(x) { return x; }", "if (f(2) !== 4) throw new Error('assert');", False),
}  # fmt: skip


@pytest.mark.parametrize("which", CASES)
def test_compiled(executor: Executor, which: str) -> None:
    language, code, tests, verdict = CASES[which]
    if why := probe()[language]:
        pytest.skip(why)
    outcome = run_suite(executor, code, Suite(language=language, tests=(tests,), seconds=10.0))
    if "cannot be run inside the sandbox" in outcome.message:
        pytest.skip(outcome.message)
    if verdict == "no":
        assert outcome.passed is not True, outcome
    else:
        assert outcome.passed is verdict, outcome


PREFIXES = {
    "cpp": ("#include<assert.h>\n// Square.\nlong f(long x) {\n", "}\nint main() {\n    auto candidate = f;\n    assert(candidate((2)) == (4));\n}\n"),
    "java": ("import java.util.*;\nclass Problem {\n    public static long f(long x) {\n", "    }\n    public static void main(String[] args) {\n    assert(f((2l)) == (4l));\n    }\n\n}\n"),
    "rust": ("/// Square.\nfn f(x: i64) -> i64 {\n", "}\nfn main() {\n    let candidate = f;\n    assert_eq!(candidate(2), 4);\n}\n"),
    "javascript": ("// Square.\nfunction f(x){\n", "const assert = require('node:assert');\nassert.deepEqual(f(2), 4);\n"),
}  # fmt: skip
ANSWERS = {
    "cpp": ["    return x * x;\n", "```cpp\nlong g(long y) { return y; }\nlong f(long x) {\n    return g(x) * x;\n}\n```", "```cpp\nlong f(long x) { return x * x; }\nint main() { return f(1); }\n```"],
    "java": [
        "        return x * x;\n",
        "```java\npublic static long f(long x) {\n    return x * x;\n}\n```",
        "```java\nimport java.util.*;\npublic class Problem {\n    public static long f(long x) { return x * x; }\n    public static void main(String[] a) { }\n}\n```",
    ],
    "rust": ["    x * x\n", "```rust\nfn f(x: i64) -> i64 {\n    x * x\n}\nfn main() {}\n```"],
    "javascript": ["  return x * x;\n}\n", "```js\nfunction f(x) {\n  return x * x;\n}\nmodule.exports = { f };\n```"],
}  # fmt: skip


@pytest.mark.parametrize("language", ANSWERS)
def test_an_answer_may_be_a_body_or_a_whole_function(executor: Executor, language: str) -> None:
    if why := probe()[language]:
        pytest.skip(why)
    prefix, tests = PREFIXES[language]
    suite = Suite(language=language, tests=(tests,), prefix=prefix, seconds=10.0)
    for answer in ANSWERS[language]:
        outcome = run_suite(executor, candidate_of(answer, suite), suite)
        if "cannot be run inside the sandbox" in outcome.message:
            pytest.skip(outcome.message)
        assert outcome.passed is True, (answer, outcome)
        wrong = run_suite(executor, candidate_of(answer.replace("x * x", "x + 1").replace("* x", "+ 1"), suite), suite)
        assert wrong.passed is False, (answer, wrong)


def test_a_package_that_is_absent_is_unscored(executor: Executor) -> None:
    for language, code in (
        ("cpp", "#include <nosuch/lib.hpp>\nint f(int x) { return x; }"),
        ("javascript", "require('nosuch');"),
    ):
        if not probe()[language]:
            outcome = run_suite(executor, code, Suite(language=language, tests=(CPP,), seconds=5.0))
            assert outcome.passed is None, outcome
