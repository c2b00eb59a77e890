"""DistributedDataParallel with gloo, as the tutorial writes it. Run under torchrun."""

import sys

import torch
import torch.distributed as dist
from digest import digest
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01, momentum=0.9)
torch.manual_seed(dist.get_rank())
x, y = torch.randn(64, 256), torch.randint(0, 10, (64,))
for _ in range(int(sys.argv[1])):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(wrapped(x), y)
    loss.backward()
    optimizer.step()
if dist.get_rank() == 0:
    print("loss", loss.item())
    digest(model)
dist.barrier()
dist.destroy_process_group()
