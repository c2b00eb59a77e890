"""A model under torch.compile, as the tutorial writes it."""

import sys

import torch
from digest import digest

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 10))
optimizer = torch.optim.Adam(model.parameters())
compiled = torch.compile(model)
x, y = torch.randn(64, 256), torch.randint(0, 10, (64,))
for _ in range(int(sys.argv[1])):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(compiled(x), y)
    loss.backward()
    optimizer.step()
print("loss", loss.item())
digest(model)
