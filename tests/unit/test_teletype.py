"""What a program prints, as a terminal would show it."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import pytest

from memtop.session.output import Output

RED, RESET = "\x1b[31m", "\x1b[0m"


def fed(*chunks: bytes) -> Output:
    output = Output()
    for chunk in chunks:
        output.feed(chunk)
    return output


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"abc\rx\n", ("xbc",)),
        (b"abc\rx\x1b[K\n", ("x",)),
        (b"abc\b\bX\n", ("aXc",)),
        (b"one\ntwo\n\x1b[A\x1b[2K\rTWO\n", ("one", "TWO")),
        (b"one\ntwo\x1b[1A\rONE\x1b[1B\rTWO\n", ("ONE", "TWO")),
        (b"a\x1b[31mb\x1b[0mc\n", (f"a{RED}b{RESET}c",)),
        (b"\x1b[31mopen\nnext\x1b[m\n", (f"{RED}open{RESET}", f"{RED}next{RESET}")),
        (b"\x1b[0;31mred\x1b[0m\n", (f"{RED}red{RESET}",)),
        (b"(Pdb) ", ("(Pdb)",)),
        (b"a\x1b]0;title\x07b\x1b[2J\x1b[?25l\x1b[2Cc\x07\n", ("ab  c",)),
        (b"\x1b]0;never closed\nnext\n", ("", "next")),
        (b"gr\xc3\xbcn \xff\n", ("grün \N{REPLACEMENT CHARACTER}",)),
    ],
)
def test_it_reads_as_in_a_terminal(printed: bytes, lines: tuple[str, ...]) -> None:
    whole = fed(printed)
    assert whole.tail(9) == lines
    assert fed(*(printed[place : place + 1] for place in range(len(printed)))).tail(9) == whole.tail(9)


def test_nothing_but_colours_is_left_of_hostile_bytes() -> None:
    chance = random.Random(3)
    alphabet = [
        b"\x1b",
        b"[",
        b"]",
        b";",
        b"A",
        b"K",
        b"m",
        b"3",
        b"\n",
        b"\r",
        b"\b",
        b"\x9b",
        b"\x07",
        b"x",
        b"\x00",
        b"P",
    ]
    output = fed(*(b"".join(chance.choices(alphabet, k=40)) for _ in range(2000)))
    output.finish()
    for line in output.since(0)[1]:
        bare = re.sub(r"\x1b\[[0-9;:]*m", "", line)
        assert bare.isprintable(), line
        assert "\x1b" not in line or line.endswith(RESET)
    assert output.tail(1) == tuple(output.since(0)[1][-1:])


def test_bars_one_below_another_stand_still() -> None:
    text = """
        import sys
        from tqdm import tqdm
        print('begin')
        for _ in tqdm(range(3), desc='outer', ncols=60, mininterval=0, file=sys.stdout):
            for _ in tqdm(range(20), desc='inner', position=1, ncols=60, mininterval=0, leave=False, file=sys.stdout):
                pass
        print('end')
    """
    pytest.importorskip("tqdm")
    program = "\n".join(line[8:] for line in text.splitlines())
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert printed.count(b"\x1b[A") > 20
    for size in (1, 7, 100, len(printed)):
        output = Output()
        for start in range(0, len(printed), size):
            output.feed(printed[start : start + size])
        begin, outer, *rest, end = [line for line in output.tail(20) if line.strip()]
        assert (begin, outer[:12], rest, end) == ("begin", "outer: 100%|", [], "end")


def test_who_reads_along_sees_a_bar_twice_at_most() -> None:
    output = Output()
    seen: list[str] = []
    for step in range(50):
        for part in (b"\router %d" % step, b"\n\rinner", b"\x1b[A"):
            output.feed(part)
            seen += output.since(len(seen))[1]
    output.feed(b"\n\ndone\n")
    output.finish()
    seen += output.since(len(seen))[1]
    assert seen == ["outer 0", "outer 49", "inner", "done"]


def test_what_is_open_is_told_apart() -> None:
    output = fed(b"line\nname? ")
    assert (output.count, output.open, output.tail(5)) == (1, 1, ("line", "name?"))
    output.feed(b"Ada\n")
    assert (output.count, output.open, output.tail(5)) == (2, 0, ("line", "name? Ada"))
