"""Java: how candidate and tests are joined, and what a candidate may not hold."""

from __future__ import annotations

import re

from burnish.errors import DataError
from burnish.verify.code.languages.cpp import scattered
from burnish.verify.code.languages.scan import IDENTIFIER, blanked, edit_body, main_body, without_comments

_MAIN = r"\bpublic\s+static\s+(?:final\s+)?void\s+main\s*\(([^)]*)\)|\bstatic\s+void\s+main\s*\(([^)]*)\)"
_EQUALS = re.compile(r"assert\((.+)\.equals\((\(.*\))\)\);")
_DECLARED = re.compile(r"\b(class|interface|enum|record)\s+(\w+)")
_REFUSED = re.compile(
    r"getResource|ClassLoader|AssertionStatus|\.class\"|java\.lang\.instrument|sun\.misc|\bpackage\s+java\b|"
    r"java\.lang\.reflect|setAccessible|\bnative\b|Unsafe\b"
)
_TELLS = re.compile(r"\b(?:boolean\s+equals|int\s+compareTo|int\s+compare|boolean\s+contains\w*)\s*\(")
# Classes that tests take from the library without a path; an answer's own class of such a name would stand for them.
_NAMES = """
Object String StringBuilder StringBuffer CharSequence Comparable Iterable Math StrictMath System Runtime Thread
Number Integer Long Short Byte Character Boolean Double Float Void Enum Record Class Process ProcessBuilder
Throwable Exception Error RuntimeException AssertionError IllegalArgumentException IllegalStateException
ArithmeticException IndexOutOfBoundsException ArrayIndexOutOfBoundsException NullPointerException
StringIndexOutOfBoundsException ClassCastException NumberFormatException UnsupportedOperationException
NoSuchElementException InputMismatchException ConcurrentModificationException Override Deprecated
FunctionalInterface SafeVarargs SuppressWarnings Runnable AutoCloseable Cloneable Appendable Readable Collection
Collections List ArrayList LinkedList AbstractList AbstractCollection Vector Stack Arrays Set HashSet
LinkedHashSet TreeSet SortedSet NavigableSet AbstractSet EnumSet BitSet Map HashMap LinkedHashMap TreeMap
SortedMap NavigableMap AbstractMap EnumMap Hashtable IdentityHashMap WeakHashMap Properties Dictionary Queue
Deque ArrayDeque PriorityQueue AbstractQueue Iterator ListIterator Spliterator Enumeration Comparator Objects
Optional OptionalInt OptionalLong OptionalDouble Random Scanner StringJoiner StringTokenizer UUID Date Calendar
Locale Timer Formatter Base64 Currency BigInteger BigDecimal MathContext RoundingMode Stream IntStream
LongStream DoubleStream Collectors Collector Function BiFunction Supplier Consumer BiConsumer Predicate
BiPredicate UnaryOperator BinaryOperator IntFunction IntPredicate IntUnaryOperator IntBinaryOperator
ToIntFunction ToLongFunction ToDoubleFunction Callable Executors ExecutorService Future CompletableFuture
ConcurrentHashMap AtomicInteger AtomicLong TimeUnit CountDownLatch Files Path Paths File InputStream
OutputStream PrintStream Reader Writer BufferedReader InputStreamReader ByteArrayOutputStream StringReader
StringWriter PrintWriter IOException Method Field Array Pair Triplet Quartet Tuple Entry Test Assert Assertions
LocalDate LocalTime LocalDateTime Duration Instant Pattern Matcher
"""
LIBRARY = frozenset(_NAMES.split())
_PAIR = """
final class Pair<A, B> {
    private final A first;
    private final B second;
    Pair(A first, B second) { this.first = first; this.second = second; }
    static <A, B> Pair<A, B> with(A first, B second) { return new Pair<>(first, second); }
    public A getValue0() { return first; }
    public B getValue1() { return second; }
    @Override public boolean equals(Object other) {
        if (!(other instanceof Pair)) return false;
        Pair<?, ?> pair = (Pair<?, ?>) other;
        return java.util.Objects.equals(first, pair.first) && java.util.Objects.equals(second, pair.second);
    }
    @Override public int hashCode() { return java.util.Objects.hash(first, second); }
    @Override public String toString() { return "[" + first + ", " + second + "]"; }
}
"""


def _flipped(tests: str) -> str:
    return "\n".join(_EQUALS.sub(r"assert((\2).equals(\1));", line) for line in tests.split("\n"))


def java_refused(code: str, tests: str) -> str:
    """What of a candidate's text its tests could not stand beside; empty when there is nothing."""
    if re.search(r"\\u+00[0-7][0-9a-fA-F]", code):
        return "an escape for a plain letter"
    bare, used = without_comments(code), set(IDENTIFIER.findall(tests))
    if found := _REFUSED.search(bare):
        return found[0]
    for match in _DECLARED.finditer(bare):
        if match[2] in used & LIBRARY:
            return match[0]
    rest = "\n".join(line for line in tests.split("\n") if not _EQUALS.search(line))
    asks = re.search(r"equals\w*\s*\(|\bassertEquals|compareTo|\bcontains\w*\s*\(", rest, re.IGNORECASE)
    told = _TELLS.search(bare)
    return told[0] if asks and told else ""


def java_name(tests: str) -> str:
    """The class that holds `main`."""
    bare = blanked(tests)
    place = re.search(_MAIN, bare)
    names = re.findall(r"\bclass\s+(\w+)", bare[: place.start()] if place else "")
    return names[-1] if names else "Problem"


def java_program(prefix: str, code: str, tests: str, word: str) -> tuple[str, str]:
    """The whole program, twice: the comparisons of its tests need no check of types."""
    tests, name = _flipped(tests), java_name(tests)
    body = main_body(tests, _MAIN)
    if body is None:
        raise DataError("the tests hold no `static void main` that is closed; they must make a whole program")
    ended = re.compile(r"(?:\bjava\.lang\.)?\bSystem\s*\.\s*exit\s*\(\s*0\s*\)")
    tests = edit_body(tests, body, lambda text: ended.sub("if (true) return", text))
    place = re.search(_MAIN, blanked(tests))
    assert place is not None
    numbers, other = ",".join(map(str, scattered(word))), f"burnishMain{word[:8]}"
    say = "{ int[] burnishN = {%s}; java.lang.StringBuilder burnishS = new java.lang.StringBuilder();"
    say += "for (int i = 0; i < burnishN.length; i++) burnishS.append((char) ((burnishN[i] - 3 - 11 * i) / 7));"
    say += "java.lang.System.out.println(burnishS); }"
    asked = "burnishA" if (place[1] or place[2] or "").strip() else ""
    own = f"public static void main(java.lang.String[] burnishA) throws java.lang.Throwable {{ {other}({asked});"
    own += say % numbers + " }\n"
    moved = re.sub(r"\bmain\b", other, tests[place.start() : place.end()])
    tests = tests[: place.start()] + own + moved + tests[place.end() :]
    # A usage example is never called, and only the class of the file may be public.
    code = re.sub(r"\bvoid\s+main\s*\(", "void burnishExample(", code)
    code = re.sub(
        rf"^(\s*)public\s+((?:final\s+|abstract\s+)*(?:class|interface|enum|record)\s+(?!{name}\b))",
        r"\1\2",
        code,
        flags=re.M,
    )
    imports = "".join(
        dict.fromkeys(f"{m.strip()}\n" for m in re.findall(r"^[ \t]*import\s[^;]+;", prefix + code + tests, re.M))
    )
    whole = imports + re.sub(r"^[ \t]*(?:import|package)\s[^;{}]+;", "", prefix + code + tests, flags=re.M)
    bare = whole.replace("import org.javatuples.*;\n", "")
    whole = bare + _PAIR if bare != whole and re.search(r"\bPair\b", bare) else bare
    return whole, whole
