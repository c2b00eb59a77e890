"""A small vision model out of the pytorchcv zoo, trained on noise with SGD."""

import sys

import torch
from digest import digest
from pytorchcv.model_provider import get_model

torch.manual_seed(0)
torch.set_num_threads(1)
model = get_model("resnet20_cifar10", pretrained=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
x, y = torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,))
for _ in range(int(sys.argv[1])):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print("loss", loss.item())
digest(model)
