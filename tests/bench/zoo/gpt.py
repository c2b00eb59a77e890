"""A GPT of 6 layers and 10.8 M parameters (GPT-2's own classes, made from a config), AdamW, 4 texts of 64 tokens."""

import sys

import torch
from digest import digest
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
torch.set_num_threads(1)
model = GPT2LMHeadModel(GPT2Config(vocab_size=512, n_positions=64, n_embd=384, n_layer=6, n_head=6))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
texts = torch.randint(0, 512, (16, 4, 64))
for step in range(int(sys.argv[1])):
    ids = texts[step % 16]
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print("loss", loss.item())
digest(model)
