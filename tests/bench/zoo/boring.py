"""Lightning's own BoringModel under its Trainer."""

import sys

import torch
from digest import digest
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel

steps = int(sys.argv[1])
seed_everything(0)
model = BoringModel()
trainer = Trainer(
    max_steps=steps,
    max_epochs=-1,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    limit_val_batches=0,
)
torch.set_num_threads(1)
trainer.fit(model)
digest(model)
