"""A GAN with two optimizers, the loop of the DCGAN tutorial on small noise images."""

import sys

import torch
from digest import digest
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
generator = nn.Sequential(
    nn.ConvTranspose2d(32, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
    nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
    nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh(),
)  # fmt: skip
discriminator = nn.Sequential(
    nn.Conv2d(3, 16, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(32, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
)  # fmt: skip
criterion = nn.BCELoss()
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
real = torch.rand(256, 3, 16, 16)
for step in range(int(sys.argv[1])):
    batch = real[(step % 8) * 32 : (step % 8 + 1) * 32]
    discriminator.zero_grad()
    label = torch.full((32,), 1.0)
    error_real = criterion(discriminator(batch).view(-1), label)
    error_real.backward()
    fake = generator(torch.randn(32, 32, 1, 1))
    label.fill_(0.0)
    error_fake = criterion(discriminator(fake.detach()).view(-1), label)
    error_fake.backward()
    optimizer_d.step()
    generator.zero_grad()
    label.fill_(1.0)
    error_g = criterion(discriminator(fake).view(-1), label)
    error_g.backward()
    optimizer_g.step()
print("loss", (error_real + error_fake).item(), error_g.item())
digest(generator, discriminator)
