"""The real data sets: MNIST's IDX files and the binary version of CIFAR-10, checked before they are believed.

Nothing is ever unpickled or unpacked to disk. Digests are those of the files as published: what a `.gz` or
`.tar.gz` holds is what is checked, so it does not matter who compressed it.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from common import fetch
from common.cli import Problem

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
}
"""MD5 of the uncompressed training files."""

CIFAR10_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
}
"""SHA-256 of the five training files of the binary version."""

CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_FOLDER = "cifar-10-batches-bin"
RECORD = 1 + 3 * 32 * 32
"""Bytes of one CIFAR-10 sample: its label, then 1,024 bytes each of red, green and blue."""

LIMIT = 64 * 2**20
"""No file of either set is larger: a compressed file that says otherwise is not read further."""


def mnist(folder: str, download: bool) -> tuple[Tensor, Tensor]:
    """MNIST's 60,000 training images (N, 1, 28, 28) uint8 and labels int64. Raises `Problem`."""
    root = _folder(folder, download)
    if download and _find(root, "train-images-idx3-ubyte") is None:
        fetch.mnist(root)
    images, labels = (_read(root, name, digest) for name, digest in MNIST_MD5.items())
    pixels = idx_images(images, "train-images-idx3-ubyte")
    classes = idx_labels(labels, "train-labels-idx1-ubyte")
    if len(pixels) != len(classes):
        raise Problem(f"{root}: {len(pixels)} images but {len(classes)} labels")
    return pixels, classes


def cifar10(folder: str, download: bool) -> tuple[Tensor, Tensor]:
    """CIFAR-10's 50,000 training images (N, 3, 32, 32) uint8 and labels int64. Raises `Problem`."""
    root = _folder(folder, download)
    first = next(iter(CIFAR10_SHA256))
    if download and _find(root, first) is None and not (root / CIFAR10_ARCHIVE).is_file():
        fetch.cifar10(root)
    if _find(root, first) is None and (root / CIFAR10_ARCHIVE).is_file():
        raw = _read_archive(root / CIFAR10_ARCHIVE)
    else:
        raw = [_read(root, name, digest, hashlib.sha256) for name, digest in CIFAR10_SHA256.items()]
    parts = [cifar_records(part, name) for part, name in zip(raw, CIFAR10_SHA256, strict=True)]
    return torch.cat([pixels for pixels, _ in parts]), torch.cat([labels for _, labels in parts])


def idx_images(raw: bytearray, name: str) -> Tensor:
    """An IDX file of 28 x 28 byte images as (N, 1, 28, 28) uint8. Raises `Problem` where it is not one."""
    if len(raw) < 16 or struct.unpack(">I", raw[:4])[0] != 0x803:
        raise Problem(f"{name}: not an IDX file of images (wrong magic number)")
    count, height, width = struct.unpack(">III", raw[4:16])
    if (height, width) != (28, 28) or not count or len(raw) != 16 + count * 784:
        raise Problem(f"{name}: says {count} images of {height} x {width}, holds {len(raw) - 16} bytes of pixels")
    return torch.frombuffer(raw, dtype=torch.uint8, offset=16).view(count, 1, 28, 28)


def idx_labels(raw: bytearray, name: str) -> Tensor:
    """An IDX file of labels from 0 to 9 as int64. Raises `Problem` where it is not one."""
    if len(raw) < 8 or struct.unpack(">I", raw[:4])[0] != 0x801:
        raise Problem(f"{name}: not an IDX file of labels (wrong magic number)")
    count = struct.unpack(">I", raw[4:8])[0]
    if not count or len(raw) != 8 + count:
        raise Problem(f"{name}: says {count} labels, holds {len(raw) - 8}")
    return _classes(torch.frombuffer(raw, dtype=torch.uint8, offset=8), name)


def cifar_records(raw: bytearray, name: str) -> tuple[Tensor, Tensor]:
    """A CIFAR-10 binary file as (N, 3, 32, 32) uint8 and int64 labels. Raises `Problem` where it is not one."""
    if not raw or len(raw) % RECORD:
        raise Problem(f"{name}: {len(raw)} bytes are no whole number of {RECORD}-byte samples")
    rows = torch.frombuffer(raw, dtype=torch.uint8).view(-1, RECORD)
    return rows[:, 1:].reshape(-1, 3, 32, 32), _classes(rows[:, 0], name)


def _classes(labels: Tensor, name: str) -> Tensor:
    if int(labels.max()) > 9:
        raise Problem(f"{name}: a label of {int(labels.max())}, where 0 to 9 are expected")
    return labels.long()


def _folder(folder: str, download: bool) -> Path:
    if not folder:
        raise Problem("--download needs a folder to put the files in: --data DIR")
    root = Path(folder).expanduser()
    if not root.is_dir() and not download:
        raise Problem(f"--data {folder}: no such folder (--download makes it and fetches the files)")
    return root


def _find(root: Path, name: str) -> Path | None:
    """The file, plain or `.gz`, in the folder itself or where torchvision and the archive put it."""
    places = (root, root / "MNIST" / "raw", root / CIFAR10_FOLDER)
    return next((p for place in places for p in (place / name, place / f"{name}.gz") if p.is_file()), None)


def _read(root: Path, name: str, digest: str, algorithm: Callable[..., hashlib._Hash] = hashlib.md5) -> bytearray:
    path = _find(root, name)
    if path is None:
        raise Problem(f"{root}: no {name} or {name}.gz there (--download fetches it)")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            raw = _limited(cast(BinaryIO, stream))
    except (OSError, EOFError, zlib.error) as error:
        raise Problem(f"{path}: can't be read: {error}") from None
    return _verified(raw, path, digest, algorithm)


def _read_archive(path: Path) -> list[bytearray]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            return [_member(archive, path, name) for name in CIFAR10_SHA256]
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise Problem(f"{path}: can't be read: {error}") from None


def _member(archive: tarfile.TarFile, path: Path, name: str) -> bytearray:
    full = f"{CIFAR10_FOLDER}/{name}"
    try:
        stream = archive.extractfile(full)
    except KeyError:
        stream = None
    if stream is None:
        raise Problem(f"{path}: no file {full} in it")
    return _verified(_limited(cast(BinaryIO, stream)), Path(f"{path}:{full}"), CIFAR10_SHA256[name], hashlib.sha256)


def _limited(stream: BinaryIO) -> bytearray:
    raw = bytearray(stream.read(LIMIT + 1))
    if len(raw) > LIMIT:
        raise OSError(f"larger than {LIMIT} bytes")
    return raw


def _verified(raw: bytearray, path: Path, digest: str, algorithm: Callable[..., hashlib._Hash]) -> bytearray:
    found = algorithm(raw, usedforsecurity=False).hexdigest()
    if found != digest:
        raise Problem(f"{path}: wrong checksum {found}, expected {digest}: damaged or another data set")
    return raw
