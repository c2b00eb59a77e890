"""The keyboard and the size of our terminal reach the terminal that a command runs on, through its supervisor."""

from __future__ import annotations

import fcntl
import signal
import struct
import termios
from pathlib import Path

from tests.process.failing import LIMIT, Place, eventually, terminal
from tests.process.test_run import PYTHON, plain, script


def test_a_line_a_debugger_and_the_end_of_input(place: Place, tmp_path: Path) -> None:
    text = """
        import sys
        name = input('who? ')
        print('hello', name, sys.stdin.isatty(), flush=True)
        kept = 7
        breakpoint()
        print('reads', 'on', flush=True)
        print('rest', repr(sys.stdin.read()), flush=True)
    """
    with terminal(place, "run", *PYTHON, script(tmp_path, text)) as screen:
        assert eventually(lambda: b"who?" in plain(screen.seen))
        screen.type(b"a")
        assert eventually(lambda: b"training's stdin" in plain(screen.seen))
        screen.type(b"Ada\r")
        assert eventually(lambda: b"hello Ada True" in plain(screen.seen))
        assert eventually(lambda: b"(Pdb)" in plain(screen.seen))
        screen.type(b"p kept * 6\r")
        assert eventually(lambda: b"42" in plain(screen.seen))
        screen.type(b"c\r")
        assert eventually(lambda: b"reads on" in plain(screen.seen))
        screen.type(b"more\r\x04")
        assert eventually(lambda: b"rest 'more" in plain(screen.seen))
        assert eventually(lambda: b"exit status 0" in plain(screen.seen))
        screen.type(b"\x03")  # Nothing runs any more: it is the screen's again.
        assert screen.process.wait(LIMIT) == 0
    assert place.nobody_left()


def test_ctrl_c_interrupts_the_training_and_not_the_screen(place: Place, tmp_path: Path) -> None:
    text = """
        import time
        try:
            print('waits', flush=True)
            time.sleep(100)
        except KeyboardInterrupt:
            print('was interrupted', flush=True)
            input('and goes on? ')
    """
    with terminal(place, "run", *PYTHON, script(tmp_path, text)) as screen:
        assert eventually(lambda: b"waits" in plain(screen.seen))
        screen.type(b"a")
        assert eventually(lambda: b"training's stdin" in plain(screen.seen))
        screen.type(b"\x03")
        assert eventually(lambda: b"and goes on?" in plain(screen.seen))
        assert screen.process.poll() is None
        screen.type(b"yes\r")
        assert eventually(lambda: b"exit status 0" in plain(screen.seen))
        screen.type(b"\x03")  # Nothing runs any more: it is the screen's again.
        assert screen.process.wait(LIMIT) == 0


def test_the_training_hears_of_a_new_size(place: Place, tmp_path: Path) -> None:
    text = """
        import shutil, signal
        told = []
        signal.signal(signal.SIGWINCH, lambda *_: told.append(1))
        print('size', *shutil.get_terminal_size(), flush=True)
        while not told:
            signal.pause()
        print('then', *shutil.get_terminal_size(), flush=True)
        signal.pause()
    """
    # Three columns are the screen's own: a space at each side, and the scrollbar.
    with terminal(place, "run", *PYTHON, script(tmp_path, text), size=(120, 40)) as screen:
        assert eventually(lambda: b"size 117 40" in plain(screen.seen))
        fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
        assert eventually(lambda: b"then 137 50" in plain(screen.seen))
        screen.type(b"q")
        assert eventually(lambda: b"still runs" in plain(screen.seen))
        screen.type(b"s")
        assert screen.process.wait(LIMIT) == 128 + signal.SIGTERM
    assert place.nobody_left()
