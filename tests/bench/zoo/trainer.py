"""The Hugging Face Trainer on a GPT-2 of 0.2 M parameters, made from a config: nothing is downloaded."""

import sys
import tempfile

import torch
from digest import digest
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

set_seed(0)
torch.set_num_threads(1)
config = GPT2Config(vocab_size=512, n_positions=64, n_embd=64, n_layer=4, n_head=4)
model = GPT2LMHeadModel(config)
texts = torch.randint(0, 512, (512, 64))
data = [{"input_ids": text, "labels": text} for text in texts]
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=8,
        max_steps=int(sys.argv[1]),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=50,
        use_cpu=True,
    )
    result = Trainer(model=model, args=arguments, train_dataset=data).train()
print("loss", result.training_loss)
digest(model)
