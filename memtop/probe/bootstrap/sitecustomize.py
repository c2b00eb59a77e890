"""Met by every Python of the target tree, because its folder stands first on PYTHONPATH.

Without memtop's environment variable it does nothing. It takes its folder off `sys.path` again, runs the
`sitecustomize` that would have run without us, and hands over to `preload.py`. Whatever goes wrong on our side stays
silent: the person's program starts as it would have.
"""

import os
import sys

# The two modules that `importlib.machinery` and `importlib.util` take these names from: they are there already, and
# those two would bring pathlib, tempfile and forty more into every Python of the tree.
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import PathFinder, spec_from_file_location


def _memtop_chain(here: str) -> None:
    """Run the person's own sitecustomize in our place, as if ours had never been found."""
    spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if p != here])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _memtop_start(here: str) -> None:
    """Load the probe's package under a private name and let it wait for the program's own `import torch`."""
    folder = os.path.dirname(here)
    spec = spec_from_file_location(
        "_memtop_probe", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        return
    package = module_from_spec(spec)
    sys.modules["_memtop_probe"] = package
    spec.loader.exec_module(package)
    from _memtop_probe import preload  # type: ignore[import-not-found]

    preload.install(os.environ["MEMTOP_SOCKET"])


_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != _here]
try:
    if os.environ.get("MEMTOP_SOCKET") and sys.version_info >= (3, 10) and "_memtop_probe" not in sys.modules:
        _memtop_start(_here)
except Exception:
    if os.environ.get("MEMTOP_DEBUG"):
        raise
_memtop_chain(_here)
