"""A small GPT that learns to spell from three chapters of Alice in Wonderland, character by character."""

import math
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

BOOK = Path(__file__).with_name("alice.txt")
"""Lewis Carroll, Alice's Adventures in Wonderland (1865), chapters I to III; in the public domain."""


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Every stretch of `length` characters of a text, as numbers; its labels are the characters one further on."""

    def __init__(self, text: str, length: int) -> None:
        self.alphabet = sorted(set(text))
        number = {character: index for index, character in enumerate(self.alphabet)}
        self.text = torch.tensor([number[character] for character in text])
        self.within = torch.arange(length)

    def __len__(self) -> int:
        return len(self.text) - len(self.within)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        places = torch.tensor(indices)[:, None] + self.within
        return self.text[places], self.text[places + 1]


class Attention(nn.Module):
    """Each character looks at those before it. B: batch, T: characters, C: width, H heads of C / H numbers each."""

    def __init__(self, width: int, heads: int, length: int, kind: str) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("ahead", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        split = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, H, C / H)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # three of (B, H, T, C / H): views
        if self.kind == "sdpa":
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (B, H, T, T)
            mixed = scores.masked_fill(self.ahead, -math.inf).softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, H, T, C / H) -> (B, T, C)


class Block(nn.Module):
    """Attention and a perceptron, each added to what went in."""

    def __init__(self, width: int, heads: int, length: int, kind: str) -> None:
        super().__init__()
        self.norm_1, self.attention = nn.LayerNorm(width), Attention(width, heads, length, kind)
        self.norm_2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.perceptron(self.norm_2(x))


class GPT(nn.Module):
    """Characters (B, T) to logits (B, T, letters of the alphabet)."""

    def __init__(self, letters: int, width: int, layers: int, heads: int, length: int, kind: str) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(letters, width), nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads, length, kind) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.characters(x) + self.places)))


def main() -> None:
    parser = cli.parser(__doc__, batch_size=8, learning_rate=1e-3, optimizer="adamw")
    parser.add_argument("--length", type=cli.whole(2, 4096), default=256, help="characters of a sample")
    parser.add_argument("--heads", type=cli.whole(1), default=8, help="of attention")
    parser.add_argument("--layers", type=cli.whole(1), default=4, help="blocks of attention and perceptron")
    parser.add_argument("--width", type=cli.whole(1), default=64, help="numbers for each character")
    parser.add_argument("--attention", choices=("math", "sdpa"), default="math", help="written out, or torch's own")
    cli.add_accumulate(parser)
    args = parser.parse_args()
    part_size = cli.part_size(parser, args)
    if args.width % args.heads:
        parser.error(f"--heads {args.heads} does not divide a --width of {args.width}")
    device = cli.device(args.device)
    samples = Windows(BOOK.read_text("utf-8"), args.length)
    unused = " (it comes with this scenario: --data is not used)" if args.data or args.download else ""
    print(f"data: {len(samples.text):,} characters of Alice in Wonderland{unused}", flush=True)
    loader = data.loader(samples, part_size, args.steps * args.accumulate, args.seed, device)

    torch.manual_seed(args.seed)
    letters = len(samples.alphabet)
    model = GPT(letters, args.width, args.layers, args.heads, args.length, args.attention).to(device)
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters on {device}", flush=True)

    lr = args.learning_rate
    optimizer: torch.optim.Optimizer
    match args.optimizer:
        case "sgd":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        case "momentum":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        case "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        case "adamw":
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr)

    step, part, printed, printed_step = 0, 0, perf_counter(), 0
    for x, y in loader:
        if part == 0:
            optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())  # the logits are not kept
        # The mean of the parts' means is the mean of the batch: gradients add up until it is whole.
        (loss if args.accumulate == 1 else loss / args.accumulate).backward()
        part = (part + 1) % args.accumulate
        if part:
            continue
        optimizer.step()
        step += 1
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    print(f"done: {step} steps, final loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
