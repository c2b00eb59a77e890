"""REINFORCE with a value baseline, after pytorch/examples' actor_critic.py, on a small world of its own."""

import random
import sys

import torch
from digest import digest
from torch.distributions import Categorical

random.seed(0)
torch.manual_seed(0)
torch.set_num_threads(1)


class Policy(torch.nn.Module):
    """Both actor and critic in one model."""

    def __init__(self) -> None:
        super().__init__()
        self.affine1 = torch.nn.Linear(4, 128)
        self.action_head = torch.nn.Linear(128, 2)
        self.value_head = torch.nn.Linear(128, 1)

    def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(action probabilities, value)."""
        x = torch.nn.functional.relu(self.affine1(state))
        return torch.nn.functional.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)


def episode() -> None:
    """Play up to 40 moves, then learn once."""
    state, saved, rewards = [random.uniform(-1, 1) for _ in range(4)], [], []
    for _ in range(random.randint(10, 40)):
        probabilities, value = model(torch.tensor(state))
        choice = Categorical(probabilities)
        action = choice.sample()
        saved.append((choice.log_prob(action), value))
        rewards.append(1.0 if (action.item() == 1) == (state[0] > 0) else -1.0)
        state = [0.9 * part + random.uniform(-0.3, 0.3) for part in state]
    total, returns = 0.0, []
    for reward in reversed(rewards):
        total = reward + 0.99 * total
        returns.insert(0, total)
    goal = torch.tensor(returns)
    goal = (goal - goal.mean()) / (goal.std() + 1e-6)
    policy = [-log * (g - value.item()) for (log, value), g in zip(saved, goal, strict=True)]
    values = [torch.nn.functional.smooth_l1_loss(value, g.view(1)) for (_, value), g in zip(saved, goal, strict=True)]
    optimizer.zero_grad()
    (torch.stack(policy).sum() + torch.stack(values).sum()).backward()
    optimizer.step()


for _ in range(int(sys.argv[1])):
    episode()
digest(model)
