"""What a program's weights came to, so that two runs of it can be compared bit for bit, and how long it trained."""

import hashlib
import os
import time

import torch

_BEGAN = time.perf_counter()


def digest(*modules: torch.nn.Module) -> None:
    """Print the SHA-256 of every parameter and buffer, in order; the seconds since the import go to ZOO_SECONDS."""
    seen = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            seen.update(name.encode() + tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    print("weights", seen.hexdigest(), flush=True)
    if path := os.environ.get("ZOO_SECONDS"):
        with open(path, "w") as file:
            file.write(str(time.perf_counter() - _BEGAN))
