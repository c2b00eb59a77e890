"""A watched model is saved, copied, scripted and sent away as an unwatched one, and loads where memtop is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.process.failing import LIMIT, ROOT, Place

PROGRAMS = Path(__file__).parent / "programs"
LOADS = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "memtop":
            raise ImportError("there is no memtop here")

sys.meta_path.insert(0, Nothing())
sys.path.insert(0, sys.argv[1])
import pathlib, torch, saves
sys.modules["__main__"].Net = saves.Net
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    if path.name.endswith(".script.pt"):
        what = torch.jit.load(path)(torch.ones(3, 12)).shape
    else:
        what = type(torch.load(path, weights_only=False)).__name__
    print(path.name, what)
"""


def test_a_model_is_saved_and_copied_as_ever(place: Place, tmp_path: Path) -> None:
    script, log = str(PROGRAMS / "saves.py"), tmp_path / "run.jsonl"
    folders = [tmp_path / "plain", tmp_path / "watched"]
    for folder in folders:
        folder.mkdir()
    plain = subprocess.run([sys.executable, script, str(folders[0])], capture_output=True, timeout=LIMIT)
    process = place.memtop("run", "--headless", "--log", str(log), "--python", sys.executable, script, str(folders[1]))
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (plain.returncode, plain.stdout) == (0, out), err
    assert out.count(b"\n") == 4 * 3 * 3 + 1
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(record["kind"] == "memory" and record["tier"] == "deep" for record in records), (
        "it was watched deep, too"
    )

    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    assert len(names[0]) == 4 * 3 * 4
    for name in names[0]:
        sizes = [(folder / name).stat().st_size for folder in folders]
        assert sizes[0] == sizes[1], name
    words = [sys.executable, "-c", LOADS, str(PROGRAMS), str(folders[1])]
    loaded = subprocess.run(words, capture_output=True, cwd=ROOT, timeout=LIMIT)
    assert loaded.returncode == 0, loaded.stderr
    assert len(loaded.stdout.splitlines()) == len(names[0])
