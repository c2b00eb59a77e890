"""The cases that `scenario_child.py` runs, and the small data files that some of them read."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import struct
import tarfile
from pathlib import Path
from typing import Any

from memtop.launcher import manifests

MNIST_IMAGES, MNIST_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"

MEASURED: dict[str, tuple[str, dict[str, object]]] = {
    "mlp-mnist": ("mlp-mnist", {}),
    "mlp-mnist 1024": ("mlp-mnist", {"batch_size": 1024, "optimizer": "momentum"}),
    "mlp-cifar": ("mlp-cifar", {"optimizer": "adamw"}),
    "mlp-cifar 7": ("mlp-cifar", {"batch_size": 7, "optimizer": "sgd"}),
    "cnn": ("cnn", {}),
    "cnn 5": ("cnn", {"batch_size": 5, "inplace": "off"}),
    "cnn 5 in place": ("cnn", {"batch_size": 5, "inplace": "on"}),
    "cnn 6 in parts": ("cnn", {"batch_size": 6, "accumulate": 3}),
    "stack none": ("deep-stack", {}),
    "stack halves": ("deep-stack", {"checkpoint": "halves"}),
    "stack segments=2": ("deep-stack", {"checkpoint": "segments=2"}),
    "stack sqrt": ("deep-stack", {"checkpoint": "sqrt"}),
    "small none": ("deep-stack", {"depth": 1, "width": 3, "batch_size": 5}),
    "small halves": ("deep-stack", {"depth": 3, "width": 24, "checkpoint": "halves"}),
    "small segments=1": ("deep-stack", {"depth": 7, "width": 24, "checkpoint": "segments=1"}),
    "small segments=3": ("deep-stack", {"depth": 7, "width": 24, "checkpoint": "segments=3"}),
    "small segments=7": ("deep-stack", {"depth": 7, "width": 24, "checkpoint": "segments=7", "batch_size": 9}),
    "tracker": ("tensor-tracker", {"batch_size": 2}),
    "iris": ("iris", {}),
    "iris 7": ("iris", {"batch_size": 7, "optimizer": "adam"}),
    "optimizers": ("optimizers", {"optimizer": "adamw"}),
    "optimizers adafactor": ("optimizers", {"optimizer": "adafactor"}),
    "precision fp32": ("precision", {"precision": "fp32", "optimizer": "momentum"}),
    "image none": ("image-size", {"remedy": "none", "batch_size": 3}),
    "image half": ("image-size", {"remedy": "image", "batch_size": 3}),
    "image batch": ("image-size", {"remedy": "batch", "batch_size": 3, "side": 32}),
    "image pooling": ("image-size", {"remedy": "pooling", "batch_size": 3}),
    "image early": ("image-size", {"remedy": "inplace", "batch_size": 2, "pooling": "early"}),
    "image in place": ("image-size", {"remedy": "inplace", "batch_size": 2}),
    "image checkpoint": ("image-size", {"remedy": "checkpoint", "batch_size": 2}),
    "image both": ("image-size", {"remedy": "checkpoint", "batch_size": 2, "pooling": "early", "side": 96}),
    "gpt": ("transformer", {"batch_size": 2, "length": 64}),
    "gpt small": ("transformer", {"batch_size": 3, "length": 10, "heads": 2, "layers": 1, "width": 12}),
    "gpt one head": ("transformer", {"batch_size": 1, "length": 33, "heads": 1, "optimizer": "sgd"}),
    "gpt in parts": ("transformer", {"batch_size": 2, "length": 33, "accumulate": 2}),
    "small sqrt": ("deep-stack", {"depth": 17, "width": 24, "checkpoint": "sqrt"}),
}
"""Two steps of each: theory is held against what torch really keeps."""

REFUSED: dict[str, tuple[str, list[str], str]] = {
    "batch 0": ("cnn", ["--batch-size", "0"], "argument --batch-size: must be at least 1, not 0"),
    "batch words": ("cnn", ["--batch-size", "big"], "argument --batch-size: 'big' is not a whole number"),
    "optimizer": ("mlp-mnist", ["--optimizer", "lion"], "argument --optimizer: invalid choice: 'lion'"),
    "precision": ("mlp-mnist", ["--precision", "fp8"], "argument --precision: invalid choice: 'fp8'"),
    "device": ("mlp-cifar", ["--device", "tpu"], "argument --device: 'tpu' is not a device: cpu, cuda:N, mps or auto"),
    "no such device": ("mlp-cifar", ["--device", "cuda:97"], "--device cuda:97: torch "),
    "seed": ("mlp-cifar", ["--seed", str(2**63)], "argument --seed: must be at most 9223372036854775807"),
    "rate": ("mlp-cifar", ["--learning-rate", "nan"], "argument --learning-rate: must be a number from 0 up, not nan"),
    "unknown flag": ("mlp-cifar", ["--batch", "3"], "unrecognized arguments: --batch 3"),
    "inplace": ("cnn", ["--inplace", "yes"], "argument --inplace: invalid choice: 'yes'"),
    "parts": ("cnn", ["--accumulate", "3"], "--accumulate 3 does not divide a --batch-size of 64"),
    "parts of a GPT": ("transformer", ["--accumulate", "0"], "argument --accumulate: must be at least 1, not 0"),
    "checkpoint": ("deep-stack", ["--checkpoint", "segments=0"], "argument --checkpoint: 'segments=0' is not offered"),
    "too many segments": ("deep-stack", ["--checkpoint", "segments=1001"], "needs as many layers: --depth is 1000"),
    "too shallow": ("deep-stack", ["--checkpoint", "halves", "--depth", "2"], "needs --depth 3 or more"),
    "batches": ("batch-size", ["--batches", "1,two"], "argument --batches: 'two' is not a whole number"),
    "micro": ("batch-size", ["--micro-batch", "10"], "--micro-batch 10 does not divide a batch of 32"),
    "side": ("image-size", ["--side", "100"], "--side must be a multiple of 16, not 100"),
    "heads": ("transformer", ["--heads", "7"], "--heads 7 does not divide a --width of 64"),
    "cap": ("oom", ["--cap", "999999999", "--device", "cpu"], "--cap 999999999: cpu has "),
    "no folder": ("mlp-mnist", ["--data", "/nonexistent/digits"], "--data /nonexistent/digits: no such folder"),
    "download where": ("mlp-mnist", ["--download"], "--download needs a folder to put the files in: --data DIR"),
}


def idx(values: bytes, magic: int, *shape: int) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + values


DIGITS = random.Random(1).randbytes(20 * 784)
CLASSES = bytes(i % 10 for i in range(20))
GOOD_IMAGES = idx(DIGITS, 0x803, 20, 28, 28)
GOOD_LABELS = idx(CLASSES, 0x801, 20)
RECORDS = [
    b"".join(bytes([i % 10]) + random.Random(i).randbytes(3072) for i in range(4 * b, 4 * b + 4)) for b in range(5)
]


def md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


def believe_mnist(images: bytes, labels: bytes) -> dict[str, Any]:
    """These bytes taken for the published ones, so that what comes after the checksum is reached."""
    return {"common.files.MNIST_MD5": {MNIST_IMAGES: md5(images), MNIST_LABELS: md5(labels)}}


def believe_cifar(records: list[bytes]) -> dict[str, Any]:
    names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in zip(names, records, strict=True)}
    return {"common.files.CIFAR10_SHA256": digests}


def write(folder: Path, files: dict[str, bytes]) -> str:
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return str(folder)


def archive(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return made.getvalue()


def data_cases(tmp: Path) -> dict[str, tuple[str, list[str], dict[str, Any]]]:
    """Folders with real files' formats, good and bad."""
    good, packed = {MNIST_IMAGES: GOOD_IMAGES, MNIST_LABELS: GOOD_LABELS}, gzip.compress(GOOD_IMAGES)
    believed = believe_mnist(GOOD_IMAGES, GOOD_LABELS)
    batches = {f"data_batch_{i}.bin": raw for i, raw in enumerate(RECORDS, 1)}
    inside = archive({f"cifar-10-batches-bin/{name}": raw for name, raw in batches.items()})
    wrong_magic, short = idx(DIGITS, 0x801, 20, 28, 28), GOOD_IMAGES[:-1]
    nineteen, tens = idx(CLASSES[:19], 0x801, 19), idx(bytes(20 * [10]), 0x801, 20)
    torn = [*RECORDS[:4], RECORDS[4][:-1]]
    mirror = write(tmp / "mirror", {f"{MNIST_IMAGES}.gz": packed, f"{MNIST_LABELS}.gz": gzip.compress(GOOD_LABELS)})
    mirrored = {
        "common.fetch.MNIST_MIRRORS": (f"file://{tmp}/gone/", f"file://{mirror}/"),
        "common.fetch.MNIST_FILES": {f.name: md5(f.read_bytes()) for f in Path(mirror).iterdir()},
    }
    folders: dict[str, tuple[str, dict[str, bytes], dict[str, Any]]] = {
        "mnist": ("mlp-mnist", good, believed),
        "mnist gz": (
            "mlp-mnist",
            {f"{MNIST_IMAGES}.gz": packed, MNIST_LABELS: GOOD_LABELS},
            believe_mnist(*good.values()),
        ),
        "mnist raw": ("mlp-mnist", {f"MNIST/raw/{k}": v for k, v in good.items()}, believed),
        "mnist unknown": ("mlp-mnist", good, {}),
        "mnist magic": ("mlp-mnist", {**good, MNIST_IMAGES: wrong_magic}, believe_mnist(wrong_magic, GOOD_LABELS)),
        "mnist short": ("mlp-mnist", {**good, MNIST_IMAGES: short}, believe_mnist(short, GOOD_LABELS)),
        "mnist count": ("mlp-mnist", {**good, MNIST_LABELS: nineteen}, believe_mnist(GOOD_IMAGES, nineteen)),
        "mnist label": ("mlp-mnist", {**good, MNIST_LABELS: tens}, believe_mnist(GOOD_IMAGES, tens)),
        "mnist torn gz": ("mlp-mnist", {f"{MNIST_IMAGES}.gz": packed[:-40]}, {}),
        "mnist no gz": ("mlp-mnist", {f"{MNIST_IMAGES}.gz": GOOD_IMAGES}, {}),
        "mnist missing": ("mlp-mnist", {MNIST_LABELS: GOOD_LABELS}, {}),
        "cifar": ("mlp-cifar", {f"cifar-10-batches-bin/{k}": v for k, v in batches.items()}, believe_cifar(RECORDS)),
        "cifar tar": ("cnn", {"cifar-10-binary.tar.gz": inside}, believe_cifar(RECORDS)),
        "cifar unknown": ("mlp-cifar", {"cifar-10-binary.tar.gz": inside}, {}),
        "cifar torn": ("mlp-cifar", dict(zip(batches, torn, strict=True)), believe_cifar(torn)),
        "cifar tar torn": ("mlp-cifar", {"cifar-10-binary.tar.gz": inside[:-2000]}, believe_cifar(RECORDS)),
        "cifar tar empty": ("mlp-cifar", {"cifar-10-binary.tar.gz": archive({"x": b"x"})}, {}),
    }
    cases = {
        name: (scenario, ["--steps", "1", "--batch-size", "6", "--data", write(tmp / name, files)], patch)
        for name, (scenario, files, patch) in folders.items()
    }
    fetch = ["--steps", "1", "--download", "--data"]
    nowhere = {"common.fetch.MNIST_MIRRORS": (f"file://{tmp}/gone/",)}
    wrong = {**mirrored, "common.fetch.MNIST_FILES": {f"{MNIST_IMAGES}.gz": "0" * 32}}
    cases["fetched"] = ("mlp-mnist", [*fetch, f"{tmp}/new"], {**mirrored, **believed})
    cases["offline"] = ("mlp-mnist", [*fetch, f"{tmp}/offline"], nowhere)
    cases["fetched wrong"] = ("mlp-mnist", [*fetch, f"{tmp}/wrong"], wrong)
    return cases


def flags(scenario: str, given: dict[str, object], steps: int) -> list[str]:
    manifest = manifests.load(scenario)
    return manifests.command(manifest, manifests.resolve(manifest, {**given, "steps": steps, "device": "cpu"}), "")[3:]


def all_cases(tmp: Path) -> dict[str, tuple[str, list[str], dict[str, Any]]]:
    """Every case by name: the scenario, its arguments, and what is replaced in its modules. Files go under `tmp`."""
    cases = {name: (scenario, flags(scenario, given, 2), {}) for name, (scenario, given) in MEASURED.items()}
    cases |= {f"plain {name}": (name, ["--steps", "3", "--device", "cpu"], {}) for name in manifests.names()}
    cases |= {f"again {name}": (name, ["--steps", "3", "--device", "cpu"], {}) for name in manifests.names()}
    cases["seed 1"] = ("mlp-mnist", ["--steps", "3", "--device", "cpu", "--seed", "1"], {})
    cases["falls"] = ("mlp-cifar", ["--steps", "200", "--device", "cpu"], {})
    cases["cnn bf16"] = ("cnn", ["--steps", "1", "--device", "cpu", "--batch-size", "4", "--precision", "bf16"], {})
    cases["larger than the set"] = ("mlp-mnist", ["--steps", "2", "--batch-size", "10001", "--device", "cpu"], {})
    cases["no scaling"] = ("batch-size", ["--steps", "2", "--device", "cpu", "--batches", "64"], {})
    cases["scaled"] = ("batch-size", [*cases["no scaling"][1], "--scale-rate", "on"], {})
    cases["micro 16"] = ("batch-size", [*cases["no scaling"][1], "--micro-batch", "16"], {})
    for precision in ("bf16", "pure-bf16", "fp16"):
        arguments = ["--steps", "2", "--device", "cpu", "--batch-size", "4", "--precision", precision]
        cases[precision] = ("precision", arguments, {})
    cases["keeps"] = ("iris", ["--steps", "50", "--device", "cpu", "--log-every", "1", "--keep-graph", "on"], {})
    cases["numbers"] = ("iris", ["--steps", "50", "--device", "cpu", "--log-every", "1"], {})
    cases["iris learns"] = ("iris", ["--steps", "400", "--device", "cpu"], {})
    cases["gpt learns"] = ("transformer", ["--steps", "30", "--device", "cpu", "--length", "32", "--layers", "1"], {})
    cases["gpt sdpa"] = (
        "transformer",
        ["--steps", "3", "--device", "cpu", "--length", "32", "--attention", "sdpa"],
        {},
    )
    cases["gpt math"] = ("transformer", ["--steps", "3", "--device", "cpu", "--length", "32"], {})
    cases["no set"] = ("deep-stack", ["--steps", "1", "--depth", "2", "--data", "x", "--download"], {})
    cases |= {name: (scenario, arguments, {}) for name, (scenario, arguments, _) in REFUSED.items()}
    cases |= data_cases(tmp)
    return cases
