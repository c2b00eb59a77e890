"""LBFGS with its closure on the sine curve, as pytorch/examples' time_sequence_prediction does."""

import sys

import torch
from digest import digest

torch.manual_seed(0)
torch.set_num_threads(1)


class Sequence(torch.nn.Module):
    """Two LSTM cells and a linear layer, one number a time step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm1 = torch.nn.LSTMCell(1, 51)
        self.lstm2 = torch.nn.LSTMCell(51, 51)
        self.linear = torch.nn.Linear(51, 1)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """(batch, time) to (batch, time)."""
        h1 = c1 = h2 = c2 = torch.zeros(data.size(0), 51)
        outputs = []
        for part in data.split(1, dim=1):
            h1, c1 = self.lstm1(part, (h1, c1))
            h2, c2 = self.lstm2(h1, (h2, c2))
            outputs.append(self.linear(h2))
        return torch.cat(outputs, dim=1)


wave = torch.sin(torch.arange(60) / 6.0 + torch.randn(32, 1))
model = Sequence()
criterion = torch.nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.8, max_iter=4)


def closure() -> torch.Tensor:
    """One evaluation."""
    optimizer.zero_grad()
    loss = criterion(model(wave[:, :-1]), wave[:, 1:])
    loss.backward()
    return loss


for _ in range(int(sys.argv[1])):
    loss = optimizer.step(closure)
print("loss", loss.item())
digest(model)
