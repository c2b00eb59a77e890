"""Downloads of the public data sets: with a time limit, a checksum, and an atomic rename at the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from common.cli import Problem

TIMEOUT = 20.0
"""Seconds without an answer until a server is given up."""

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
}
"""MD5 of the compressed files as published."""

CIFAR10_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR10_FILES = {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
"""MD5 of the archive, from the data set's own page."""


def mnist(root: Path) -> None:
    """MNIST's training files into `root`. Raises `Problem`."""
    for name, digest in MNIST_FILES.items():
        _fetch(root, name, digest, MNIST_MIRRORS)


def cifar10(root: Path) -> None:
    """CIFAR-10's binary archive (162 MiB) into `root`. Raises `Problem`."""
    for name, digest in CIFAR10_FILES.items():
        _fetch(root, name, digest, CIFAR10_MIRRORS)


def _fetch(root: Path, name: str, digest: str, mirrors: tuple[str, ...]) -> None:
    reasons = []
    for mirror in mirrors:
        print(f"download: {mirror}{name}", flush=True)
        try:
            return _fetch_from(mirror + name, root / name, digest)
        except (OSError, HTTPException, ValueError) as error:
            reasons.append(f"{mirror}{name}: {getattr(error, 'reason', None) or error}")
    raise Problem(f"download failed: {'; '.join(reasons)}")


def _fetch_from(url: str, path: Path, digest: str) -> None:
    """Raises `OSError`, or `ValueError` for a wrong checksum; then nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    found = hashlib.md5(usedforsecurity=False)
    try:
        with os.fdopen(handle, "wb") as target, urllib.request.urlopen(url, timeout=TIMEOUT) as source:
            while block := source.read(1 << 20):
                found.update(block)
                target.write(block)
        if found.hexdigest() != digest:
            raise ValueError(f"wrong checksum {found.hexdigest()}, expected {digest}")
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
