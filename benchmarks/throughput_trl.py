"""The contender TRL + PEFT of `train_throughput.py`. Runs in an environment of its own, with torch and without us.

    VENV/bin/python benchmarks/throughput_trl.py FOLDER bfloat16      # waits on stdin for `step`

`SFTTrainer` with packing (`bfd`, rows kept whole), the loss on the same tokens as ours, AdamW, LoRA of rank 16 on the
seven projections of every layer (Tunix has keys and values in one, so six there). Its own loop runs; a callback makes
it wait before each step.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from throughput_child import Answers
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("dtype", choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    options = json.loads((arguments.folder / "options.json").read_text())
    dtype = getattr(torch, arguments.dtype)
    model = AutoModelForCausalLM.from_pretrained(arguments.folder / "hf", dtype=dtype, attn_implementation="sdpa")
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_length=options["our_length"],
        packing=True,
        completion_only_loss=True,
        per_device_train_batch_size=options["trl_rows"],
        max_steps=10**6,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=arguments.dtype == "bfloat16",
        gradient_checkpointing=False,  # TRL's default recomputes the forward pass
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    lora = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = Timed(
        model=model,
        args=settings,
        train_dataset=dataset(arguments.folder),
        processing_class=tokenizer(),
        peft_config=lora,
        callbacks=[Gate()],
    )
    trainer.train()
    return 0


class Gate(TrainerCallback):
    """Waits for the word before a step, and answers after it."""

    def __init__(self) -> None:
        self._answers, self._start = Answers(), 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._answers.next():
            sys.exit(0)
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        seconds = time.perf_counter() - self._start
        batch = Timed.batch
        starts = np.flatnonzero(batch["position_ids"][0].numpy() == 0)
        self._answers.send(
            seconds,
            loss=Timed.loss,
            lengths=np.diff(np.append(starts, batch["position_ids"].shape[1])).tolist(),
            trained=int((batch["labels"] != -100).sum()),
        )


class Timed(SFTTrainer):
    """Remembers what the last step was given and found."""

    batch: dict[str, torch.Tensor]
    loss: float

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        Timed.batch = dict(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)
        Timed.loss = float(loss)
        return loss


def dataset(folder: Path) -> Dataset:
    """The rows that the parent wrote, tokenised already."""
    with np.load(folder / "rows.npz", allow_pickle=False) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        tokens, masks = np.split(file["tokens"], ends), np.split(file["loss_mask"], ends)
    columns = {"input_ids": [t.tolist() for t in tokens], "completion_mask": [m.astype(int).tolist() for m in masks]}
    return Dataset.from_dict(columns)


def tokenizer() -> PreTrainedTokenizerFast:
    """Only its special tokens are asked for; the rows are token ids."""
    words = models.WordLevel({"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}, unk_token="<unk>")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


if __name__ == "__main__":
    sys.exit(main())
