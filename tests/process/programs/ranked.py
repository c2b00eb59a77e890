"""A small model over several ranks with gloo, as the tutorials write it: `ddp`, `fsdp`, or `alone` in one process.

Arguments: the kind, the steps, a folder. Each rank writes its losses and the SHA-256 of its weights there. The last
rank has twice the batch of the others. A fourth argument is how many steps the last rank makes before it ends at once.
"""

import hashlib
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

kind, steps, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
dies = int(sys.argv[4]) if len(sys.argv) > 4 else None
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU())
model.append(torch.nn.Linear(512, 8))
rank, size = 0, 1
if kind != "alone":
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
trained = model
if kind == "ddp":
    trained = DistributedDataParallel(model)
elif kind == "fsdp":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (size,))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)
torch.manual_seed(rank)
batch = 64 if rank == size - 1 else 32
losses = []
for step in range(steps):
    x, y = torch.randn(batch, 64), torch.randint(8, (batch,))
    loss = torch.nn.functional.cross_entropy(trained(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step + 1 == dies and rank == size - 1:
        os._exit(3)
seen = hashlib.sha256()
for value in model.state_dict().values():
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value
    seen.update(whole.contiguous().numpy().tobytes())
(folder / f"{kind}{size}-{rank}").write_text(f"{losses} {seen.hexdigest()}\n")
if kind != "alone":
    dist.destroy_process_group()
