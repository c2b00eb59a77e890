"""torch.utils.data with two workers, as the quickstart writes the loop."""

import sys

import torch
from digest import digest
from torch.utils.data import DataLoader, Dataset


class Noise(Dataset):
    """1,024 images that are numbers of their index."""

    def __len__(self) -> int:
        return 1024

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.sin(torch.arange(3 * 16 * 16, dtype=torch.float32) * (index + 1)).view(3, 16, 16), index % 10


def main() -> None:
    """Train."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(768, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    done, steps = 0, int(sys.argv[1])
    while done < steps:
        for x, y in DataLoader(Noise(), batch_size=32, shuffle=True, num_workers=2):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == steps:
                break
    print("loss", loss.item())
    digest(model)


if __name__ == "__main__":
    main()
