"""Names of files and of C and Verilog identifiers for tensors, whose names in a model may hold anything.

A name becomes letters, digits and underscores. It must not be a keyword of C, C++ or Verilog, and differs from every
other name of the pack even where upper and lower case are the same, as on some file systems. The names depend on the
model alone, so that the same model always gives the same files.
"""

import hashlib
import re
from collections.abc import Iterable

_C = """
auto bool break case char class const constexpr continue default delete do double else enum explicit export extern
false float for friend goto if inline int long main mutable namespace new operator private protected public register
restrict return short signed sizeof static struct switch template this throw true try typedef typename union unsigned
using virtual void volatile while
alignas alignof and and_eq asm bitand bitor catch co_await co_return co_yield compl concept const_cast consteval
constinit decltype dynamic_cast noexcept not not_eq nullptr or or_eq reinterpret_cast requires static_assert static_cast
thread_local typeid typeof typeof_unqual xor xor_eq
assert complex errno imaginary noreturn offsetof stdin stdout stderr unix linux i386 near far interrupt
"""
_OTHERS = """
always assign begin buf casez deassign defparam disable edge end endcase endmodule endfunction event force forever fork
function initial inout input output integer join logic module nand negedge nor parameter posedge reg release repeat
signal task time tri wait wand wire wor clk rst dut con prn aux nul
"""

_WORDS_OF_C = frozenset(_C.split())
_WORDS = _WORDS_OF_C.union(_OTHERS.split())
_TYPES = re.compile(r"u?int\w*_t|char\d+_t|wchar_t|s?size_t|ptrdiff_t")
_MOST_CHARACTERS = 80


def identifier(name: str) -> str:
    """Return an identifier of C and Verilog, also a file name, that resembles a name."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    if not text or text[0].isdigit():
        text = f"t_{text}" if text else "t"
    return f"{text}_" if is_reserved(text) else text


def is_reserved(text: str) -> bool:
    """Whether an identifier is a word, a type or a macro of C, C++ or Verilog, or a file name that systems reserve."""
    return text.lower() in _WORDS or is_word_of_c(text)


def is_word_of_c(text: str) -> bool:
    """Whether an identifier is a word of C or C++, or a type or macro that their systems have, in any case."""
    return text.lower() in _WORDS_OF_C or _TYPES.fullmatch(text.lower()) is not None


def identifiers(names: Iterable[str], others: Iterable[str] = (), beginnings: tuple[str, ...] = ()) -> dict[str, str]:
    """Return an identifier for each name, different ones for different names; the first of equal ones stays plain.

    Parameters
    ----------
    names
        The names.
    others
        Identifiers that none of them may get.
    beginnings
        Beginnings in small letters that none of them may have; such a name gets a letter before it.
    """
    apart = next(f"{letter}_" for letter in "xyzt" if f"{letter}_" not in beginnings)
    found: dict[str, str] = {}
    taken = {other.lower() for other in others}
    for name in names:
        if name in found:
            continue
        wanted = identifier(name)
        if wanted.lower().startswith(beginnings):
            wanted = apart + wanted
        fresh, number = wanted, 2
        while fresh.lower() in taken:
            fresh, number = f"{wanted}_{number}", number + 1
        taken.add(fresh.lower())
        found[name] = fresh
    return found
