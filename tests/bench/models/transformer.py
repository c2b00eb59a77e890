"""A small transformer: 4 layers of width 256, 16 sequences of 128 tokens a step, AdamW.

`python transformer.py --steps N`: trains on random tokens and ends after N steps.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

WIDTH, LENGTH, WORDS = 256, 128, 4096


class Language(nn.Module):
    """Tokens in, scores of the next token out."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(x.shape[1], device=x.device)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        return self.head(self.layers(self.tokens(x) + self.places(where), mask=mask, is_causal=True))


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    torch.manual_seed(0)
    model, loss_fn = Language(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(given.steps):
        text = torch.randint(0, WORDS, (16, LENGTH + 1))
        optimizer.zero_grad(set_to_none=True)
        loss_fn(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten()).backward()
        optimizer.step()


if __name__ == "__main__":
    main()
