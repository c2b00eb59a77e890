"""The scenarios as they run: what they hold in memory, that they repeat bit for bit, what they refuse."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher import manifests
from memtop.model.theory import closed_forms
from tests.process.scenario_cases import GOOD_IMAGES, MEASURED, MNIST_IMAGES, MNIST_LABELS, REFUSED, all_cases, md5

CHILD = Path(__file__).with_name("scenario_child.py")
TIMEOUT = 300

Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def ran(folder: Path) -> Answers:
    """What each case did, by its name. All of them in one child process, which imports torch once."""
    pytest.importorskip("torch", reason="scenarios need torch")
    cases = all_cases(folder)
    asked = [{"scenario": s, "args": a, "patch": p} for s, a, p in cases.values()]
    child = subprocess.run(
        [sys.executable, str(CHILD)], input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert child.returncode == 0, child.stderr
    return dict(zip(cases, json.loads(child.stdout), strict=True))


@pytest.mark.parametrize("name", MEASURED)
def test_theory_is_what_torch_keeps(ran: Answers, name: str) -> None:
    scenario, given = MEASURED[name]
    manifest = manifests.load(scenario)
    found = ran[name]
    assert found["status"] == 0
    theory = closed_forms(
        parameters=0,
        trainable=0,
        buffers=None,
        itemsize=4,
        parameter_tensors=None,
        settings=manifests.resolve(manifest, given),
        formulas=manifest.theory,
        device="cpu",
    )
    measured = {c: found[c] for c in ("parameters", "gradients", "optimizer_state", "buffers", "inputs")}
    assert {category: each.bytes for category, each in theory.items()} == {
        **measured,
        "activations": found["forward_end"],
    }


@pytest.mark.parametrize("name", manifests.names())
def test_the_scripts_defaults_are_the_manifests(ran: Answers, name: str) -> None:
    manifest = manifests.load(name)
    assert ran[f"plain {name}"]["arguments"] == {
        **{spec.name: spec.default for spec in manifest.settings},
        "steps": 3,
        "device": "cpu",
    }


@pytest.mark.parametrize("name", manifests.names())
def test_the_same_seed_gives_the_same_bits(ran: Answers, name: str) -> None:
    first, second = ran[f"plain {name}"], ran[f"again {name}"]
    assert len(first["losses"]) == 3
    assert first["losses"] == second["losses"]
    assert first["weights"] == second["weights"]
    assert steadily_said(first) == steadily_said(second)
    assert first["stderr"] == ""


def steadily_said(answer: dict[str, Any]) -> str:
    """What was printed, without what is a matter of time: how long steps took, and lines that come once a second."""
    return re.sub(r"^(step|time) .*\n", "", answer["stdout"], flags=re.MULTILINE)


def test_phases_take_turns(ran: Answers) -> None:
    """Three steps: an even share for each phase, one of them at least."""
    said = ran["plain optimizers"]["stdout"].splitlines()
    phases = [line for line in said if line.startswith("phase")]
    names = ("sgd", "momentum", "adam")
    assert phases == [f"phase {i} of 5: {name}, steps {i} to {i}" for i, name in enumerate(names, 1)]
    first, *rest = ran["plain optimizers"]["losses"]
    assert {first} == set(rest), "each begins with the same weights and the same batch"
    assert ran["optimizers"]["stdout"].splitlines()[2] == "phase 1 of 1: adamw, steps 1 to 2"


@pytest.mark.parametrize(
    ("names", "steps", "phase_steps", "expected"),
    [
        ("abc", 10, 2, "a0+2 b2+2 c4+2 a6+2 b8+2"),
        ("abc", 7, 100, "a0+3 b3+3 c6+1"),
        ("ab", 1, 100, "a0+1"),
        ("ab", 0, 5, "a0+5 b5+5 a10+5 b15+5 a20+5"),
        ("a", 0, 5, "a0+0"),
        ("a", 9, 5, "a0+9"),
    ],
)
def test_turns(names: str, steps: int, phase_steps: int, expected: str) -> None:
    code = f"""
import contextlib, io, itertools
from common.turns import turns
with contextlib.redirect_stdout(io.StringIO()):
    made = list(itertools.islice(turns({list(names)!r}, {steps}, {phase_steps}), 5))
print(*[f"{{turn.name}}{{turn.before}}+{{turn.steps}}" for turn in made])
"""
    assert python(code).stdout.strip() == expected


def test_micro_batches_add_up_to_the_batch(ran: Answers) -> None:
    whole, pieces = ran["no scaling"], ran["micro 16"]
    losses = [float.fromhex(each) for each in pieces["losses"]]
    assert len(losses) == 8
    assert sum(losses[:4]) == pytest.approx(float.fromhex(whole["losses"][0]), rel=1e-5)
    assert whole["elements"] == pieces["elements"] == 22


def test_the_learning_rate_grows_with_the_batch(ran: Answers) -> None:
    plain, scaled = ran["no scaling"], ran["scaled"]
    assert plain["losses"][0] == scaled["losses"][0]
    assert plain["weights"] != scaled["weights"]
    assert float.fromhex(scaled["losses"][1]) < float.fromhex(plain["losses"][1])


@pytest.mark.parametrize(("name", "size"), [("bf16", 4), ("pure-bf16", 2), ("fp16", 4)])
def test_master_weights_stay_whole(ran: Answers, name: str, size: int) -> None:
    found = ran[name]
    assert found["status"] == 0
    assert found["parameters"] == found["gradients"] == 1_841_162 * size
    assert found["optimizer_state"] == 2 * 1_841_162 * size + 6 * 4


def test_keeping_the_graph_changes_no_bit_and_keeps_the_losses(ran: Answers) -> None:
    assert ran["keeps"]["weights"] == ran["numbers"]["weights"]
    assert ran["keeps"]["loss_tensors"] == 50
    assert ran["numbers"]["loss_tensors"] == 1


@pytest.mark.parametrize("name", ["iris learns", "gpt learns"])
def test_small_models_learn(ran: Answers, name: str) -> None:
    first, last = (float.fromhex(ran[name]["losses"][index]) for index in (0, -1))
    assert last < 0.8 * first


def test_both_kinds_of_attention_compute_the_same(ran: Answers) -> None:
    math, sdpa = ([float.fromhex(each) for each in ran[name]["losses"]] for name in ("gpt math", "gpt sdpa"))
    assert math == pytest.approx(sdpa, rel=1e-4)


def test_the_irises_are_the_real_ones() -> None:
    """The statistics that every textbook prints."""
    rows = manifests.load("iris").script.with_name("iris.csv").read_text("utf-8").splitlines()[1:]
    flowers = [row.split(",") for row in rows]
    columns = [[float(flower[i]) for flower in flowers] for i in range(4)]
    assert [round(statistics.mean(column), 3) for column in columns] == [5.843, 3.057, 3.758, 1.199]
    assert [round(statistics.stdev(column), 3) for column in columns] == [0.828, 0.436, 1.765, 0.762]
    assert Counter(flower[4] for flower in flowers) == {"setosa": 50, "versicolor": 50, "virginica": 50}


def test_another_seed_gives_other_bits(ran: Answers) -> None:
    assert not set(ran["seed 1"]["losses"]) & set(ran["plain mlp-mnist"]["losses"])


def test_checkpointing_changes_no_bit(ran: Answers) -> None:
    stacks = [ran[f"stack {mode}"] for mode in ("none", "halves", "segments=2", "sqrt")]
    assert len({each["weights"] for each in stacks}) == 1
    assert len({tuple(each["losses"]) for each in stacks}) == 1


def test_in_place_changes_no_bit(ran: Answers) -> None:
    assert ran["cnn 5"]["weights"] == ran["cnn 5 in place"]["weights"]


def test_the_loss_falls(ran: Answers) -> None:
    losses = [float.fromhex(each) for each in ran["falls"]["losses"]]
    assert 2 < losses[0] < 3
    assert sum(losses[-10:]) / 10 < 0.6 * losses[0]


def test_what_is_printed(ran: Answers) -> None:
    data, model, done = ran["plain mlp-cifar"]["stdout"].splitlines()
    assert data == "data: synthetic images of CIFAR-10's shape (no --data folder given)"
    assert model == "model: 394,634 parameters on cpu"
    last = float.fromhex(ran["plain mlp-cifar"]["losses"][-1])
    assert done == f"done: 3 steps, final loss {last:.4f}"
    assert ran["no set"]["stdout"].startswith("data: synthetic vectors (there is no real set for this scenario")


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("plain mlp-mnist", [64, 1, 28, 28], 200_704),
        ("plain mlp-cifar", [64, 3, 32, 32], 786_432),
        ("plain deep-stack", [32, 10], 1_280),
        ("larger than the set", [10_001, 1, 28, 28], 10_001 * 3_136),
        ("mnist", [6, 1, 28, 28], 6 * 3_136),
        ("cifar tar", [6, 3, 32, 32], 6 * 12_288),
    ],
)
def test_a_batch_has_storages_of_its_own(ran: Answers, name: str, shape: list[int], size: int) -> None:
    assert ran[name]["batch"] == [shape, size, shape[0] * 8]
    assert ran[name]["contiguous"]


def test_bf16_runs(ran: Answers) -> None:
    assert ran["cnn bf16"]["status"] == 0
    assert ran["cnn bf16"]["parameters"] == 456_744, "autocast leaves the weights as they are"


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line(ran: Answers, name: str) -> None:
    refused(ran[name], REFUSED[name][2])


def refused(answer: dict[str, Any], words: str) -> None:
    assert answer["status"] == 2
    assert words in answer["stderr"]
    assert answer["stderr"].count("\n") == 1
    assert "losses" not in answer or not answer["losses"]


@pytest.mark.parametrize("name", ["mnist", "mnist gz", "mnist raw", "cifar", "cifar tar", "fetched"])
def test_real_files_are_read(ran: Answers, folder: Path, name: str) -> None:
    assert ran[name]["stderr"] == ""
    assert ran[name]["status"] == 0
    title, where = ("CIFAR-10" if "cifar" in name else "MNIST"), "new" if name == "fetched" else name
    assert f"data: 20 {title} images from {folder / where}\n" in ran[name]["stdout"]


def test_compressed_or_not_the_batches_are_the_same(ran: Answers) -> None:
    assert ran["mnist"]["losses"] == ran["mnist gz"]["losses"] == ran["mnist raw"]["losses"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "mnist unknown",
            f"{MNIST_IMAGES}: wrong checksum {md5(GOOD_IMAGES)}, expected 6bbc9ace898e44ae57da46a324031adb",
        ),
        ("mnist magic", "not an IDX file of images (wrong magic number)"),
        ("mnist short", "says 20 images of 28 x 28, holds 15679 bytes of pixels"),
        ("mnist count", "20 images but 19 labels"),
        ("mnist label", "a label of 10, where 0 to 9 are expected"),
        ("mnist torn gz", f"{MNIST_IMAGES}.gz: can't be read: Compressed file ended"),
        ("mnist no gz", f"{MNIST_IMAGES}.gz: can't be read: Not a gzipped file"),
        ("mnist missing", f"no {MNIST_IMAGES} or {MNIST_IMAGES}.gz there (--download fetches it)"),
        ("cifar unknown", "cifar-10-binary.tar.gz:cifar-10-batches-bin/data_batch_1.bin: wrong checksum"),
        ("cifar torn", "data_batch_5.bin: 12291 bytes are no whole number of 3073-byte samples"),
        ("cifar tar torn", "cifar-10-binary.tar.gz: can't be read"),
        ("cifar tar empty", "no file cifar-10-batches-bin/data_batch_1.bin in it"),
        ("offline", "download failed: file:///"),
        ("fetched wrong", "wrong checksum"),
    ],
)
def test_bad_files_are_refused(ran: Answers, name: str, words: str) -> None:
    refused(ran[name], words)


def test_a_failed_download_leaves_nothing(ran: Answers, folder: Path) -> None:
    assert list((folder / "wrong").iterdir()) == []
    assert sorted(each.name for each in (folder / "new").iterdir()) == [f"{MNIST_IMAGES}.gz", f"{MNIST_LABELS}.gz"]


def test_pixels_and_labels_arrive_where_they_should() -> None:
    """The readers' layout, on bytes that say where they are. In a child: they need torch."""
    pytest.importorskip("torch", reason="scenarios need torch")
    code = """
import struct
from common import files
pixels, labels = files.cifar_records(bytearray([7] + [1] * 1024 + [2] * 1024 + [3] * 1024 + [9] + [4] * 3072), "x")
print(labels.tolist(), pixels[0].flatten(1).unique(dim=1).flatten().tolist(), pixels[1].unique().tolist())
image = bytearray(struct.pack(">4I", 0x803, 1, 28, 28)) + bytearray(784)
image[16 + 28 * 3 + 5] = 200
print(files.idx_images(image, "x")[0, 0, 3, 5].item(), files.idx_images(image, "x").sum().item())
"""
    done = python(code)
    assert done.stdout == "[7, 9] [1, 2, 3] [4]\n200 200\n", done.stderr


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Code in a Python of its own that finds the scenarios' common modules."""
    path = {"PYTHONPATH": str(manifests.load("cnn").script.parents[1])}
    return subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, timeout=TIMEOUT)


def test_ctrl_c_is_one_line_and_130() -> None:
    """A scenario by itself, as a person runs it, without end until interrupted."""
    pytest.importorskip("torch", reason="scenarios need torch")
    script = manifests.load("mlp-mnist").script
    line = [sys.executable, str(script), "--steps", "0", "--device", "cpu"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=TIMEOUT)
    assert seen[2].startswith("step ")
    assert errors == "interrupted\n"
    assert child.returncode == 130


def test_ctrl_c_while_torch_is_imported_is_one_line_too() -> None:
    code = "import sys, common.cli; assert 'torch' not in sys.modules; raise KeyboardInterrupt"
    done = python(code)
    assert done.stderr == "interrupted\n"
    assert done.returncode == -signal.SIGINT
