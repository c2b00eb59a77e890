"""FSDP2 (`fully_shard`) with gloo, as the tutorial writes it. Run under torchrun."""

import sys

import torch
import torch.distributed as dist
from digest import digest
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

torch.set_num_threads(1)
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
for each in model.layers:
    fully_shard(each, mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
torch.manual_seed(dist.get_rank())
x = torch.randn(16, 32, 64)
for _ in range(int(sys.argv[1])):
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
state = {name: tensor.full_tensor() for name, tensor in model.state_dict().items()}
if dist.get_rank() == 0:
    print("loss", loss.item())
    holder = torch.nn.Module()
    for name, tensor in state.items():
        holder.register_buffer(name.replace(".", "_"), tensor)
    digest(holder)
dist.barrier()
dist.destroy_process_group()
