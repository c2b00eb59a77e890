"""Accelerate, as its quick tour writes the loop, with gradient accumulation over 2 micro-batches."""

import sys

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from digest import digest
from torch.utils.data import DataLoader, TensorDataset

set_seed(0)
torch.set_num_threads(1)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(torch.randn(1024, 128), torch.randint(0, 10, (1024,))), batch_size=32, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
loss_function = torch.nn.CrossEntropyLoss()
done, steps = 0, int(sys.argv[1])
while done < steps:
    for source, targets in loader:
        with accelerator.accumulate(model):
            loss = loss_function(model(source), targets)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        done += accelerator.sync_gradients
        if done == steps:
            break
print("loss", loss.item())
digest(accelerator.unwrap_model(model))
