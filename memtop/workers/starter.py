"""Run by path in the target's Python: imports torch once, then forks a scenario whenever it is asked to.

A fork has torch in its memory at once, where a fresh process imports it for seconds. It is safe as long as no thread
runs here and no GPU was touched: this process computes nothing, and says so or gives up.

Usage: starter.py FD PROBE. FD is a stream socket. A request is a JSON line {"command", "env", "cwd"} that carries the
descriptors of stdout and stderr; answers are JSON lines: {"ready": true} or {"unsafe": why} once, then {"pid"} and,
when it has ended, {"pid", "code"}. It ends with the other side of the socket. Standard library and torch only.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

BRINGS = ("torch", "torch._dynamo", "torch.utils.checkpoint", "torch.utils.data")
"""What a training step needs and what takes long: the first optimizer of a process imports torch._dynamo."""
_LINE = 1 << 20


def unsafe() -> str | None:
    """Why this process must not be forked; `None`: it may be."""
    if threading.active_count() > 1:
        return "a thread of Python's runs"
    torch = sys.modules["torch"]
    if torch.cuda.is_initialized():
        return "CUDA was touched"
    return None


class Server:
    """One monitor's starter."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._children: dict[int, int] = {}
        """Descriptors that tell of a child's end, and its pid."""

    def say(self, **words: Any) -> None:
        """An answer."""
        self._link.sendall(json.dumps(words).encode() + b"\n")

    def serve(self) -> dict[str, Any] | None:
        """Answer requests. Returns in a child, with its request; and here when the monitor is gone, with `None`."""
        while True:
            wanted: list[Any] = [self._link, *self._children]
            ready = select.select(wanted, [], [])[0]
            for number in self._children.keys() & ready:
                self._reap(number)
            if self._link in ready:
                data, descriptors, _, _ = socket.recv_fds(self._link, _LINE, 2)
                if not data:
                    return None
                while not data.endswith(b"\n"):
                    data += self._link.recv(_LINE)
                request: dict[str, Any] = json.loads(data)
                if self._fork(descriptors):
                    return request

    def _fork(self, descriptors: list[int]) -> bool:
        """Whether this is the child."""
        begun, ring = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(begun)
            self._become(descriptors)
            os.write(ring, b".")
            os.close(ring)
            return True
        os.close(ring)
        os.read(begun, 1)  # It leads a group of its own from here on: it can be signalled with all that it starts.
        os.close(begun)
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[os.pidfd_open(pid)] = pid
        self.say(pid=pid)
        return False

    def _become(self, descriptors: list[int]) -> None:
        os.setsid()
        self._link.close()
        for descriptor in self._children:
            os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate([nothing, *descriptors]):
            os.dup2(descriptor, number)
            if descriptor > 2:
                os.close(descriptor)

    def _reap(self, descriptor: int) -> None:
        pid = self._children.pop(descriptor)
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.say(pid=pid, code=code)


def main_module(request: dict[str, Any], probe: str) -> tuple[Any, dict[str, Any]]:
    """The program's code and the namespace that it runs in, all of it as if Python had been started with it."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    script = next(word for word in request["command"][1:] if not word.startswith("-"))
    sys.argv[:] = request["command"][request["command"].index(script) :]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.excepthook = _said  # before the probe's own, which goes on to this one
    _watch(probe)
    main = ModuleType("__main__")
    main.__file__ = script
    main.__builtins__ = sys.modules["builtins"]  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    with open(script, "rb") as file:
        return compile(file.read(), script, "exec"), main.__dict__


def _watch(probe: str) -> None:
    """As the bootstrap does in a fresh process. What fails of it is ours alone."""
    from importlib.util import module_from_spec, spec_from_file_location

    try:
        path = Path(probe) / "__init__.py"
        spec = spec_from_file_location("_memtop_probe", path, submodule_search_locations=[probe])
        if spec is not None and spec.loader is not None:
            package = module_from_spec(spec)
            sys.modules["_memtop_probe"] = package
            spec.loader.exec_module(package)
            import_module("_memtop_probe.preload").install(os.environ["MEMTOP_SOCKET"])
    except Exception:
        if os.environ.get("MEMTOP_DEBUG"):
            raise


def _said(kind: Any, error: BaseException, trace: Any) -> None:
    """A traceback without our own frame."""
    sys.__excepthook__(kind, error.with_traceback(trace and trace.tb_next), trace and trace.tb_next)


def main() -> tuple[Any, dict[str, Any]] | None:
    """Import, serve, and in a child return what is to be run."""
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    probe = sys.argv[2]
    try:
        for name in BRINGS:
            import_module(name)
        reason = unsafe()
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"[:200]
    if reason is not None:
        server.say(unsafe=reason)
        return None
    gc.collect()
    gc.freeze()  # A collection in a child must not write to, and so copy, the pages of all these objects.
    server.say(ready=True)
    request = server.serve()
    if request is None:
        return None
    signal.set_wakeup_fd(-1)
    return main_module(request, probe)


if __name__ == "__main__":
    found = main()
    if found is not None:
        exec(*found)
