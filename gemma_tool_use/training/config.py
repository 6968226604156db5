"""What a training run can be told. Frozen, checked on construction, all problems at once. No JAX.

TrainConfig(rank=8, learning_rate=3e-4)
PRESETS["quickstart"]       # the real model learns to call six tools on a laptop CPU
"""

import dataclasses
from typing import Literal

from gemma_tool_use.errors import ConfigError
from gemma_tool_use.models.lora_spec import DEFAULT_MODULES, LoraSpec, Quantization
from gemma_tool_use.training.mesh import AUTO, parse_mesh

Optimizer = Literal["adamw", "adam", "adafactor", "adagrad", "lamb", "lion", "rmsprop", "sgd"]
Schedule = Literal["constant", "linear", "cosine"]
Tracker = Literal["tensorboard", "wandb"]
Dtype = Literal["auto", "float32", "bfloat16"]
Remat = Literal["auto", "none", "projections", "layers"]
Method = Literal["lora", "qlora", "full"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. The defaults are the project's format run on Toucan."""

    model: str = "google/gemma-3-270m-it"
    """Base weights: a Hugging Face repo id, kaggle:HANDLE, a folder in either hub's layout, a .gguf file, or
    embedded:gemma-3-270m."""
    data: str = "Agent-Ark/Toucan-1.5M"
    """Rows: a folder written by gemma-tool-use prepare, a file, a folder of files, or a hub id; not used with --source
    synthetic. A prepared folder keeps its own filter and split."""
    source: str = "auto"
    """How to read the rows: auto (by looking), toucan-sft, openai-jsonl, or synthetic (generated here)."""
    dialect: str = "gemma_json"
    """How tools and calls are written as text; `gemma-tool-use show --help` lists the dialects."""
    output_dir: str = "gemma3_270m_tool_calling_lora"
    """The run folder; must not exist yet, except with --resume."""
    resume: bool = False
    """Continue the run in --output-dir from its newest checkpoint."""
    dry_run: bool = False
    """Print what the run would train, need in memory and take in time, and stop; nothing is written."""

    subsets: tuple[str, ...] = ("single-turn-original", "single-turn-diversify")
    """Toucan subsets to train on; the others are irrelevant and multi-turn. Other data has no subsets."""
    max_tools_used: int = 2
    """Rows that call more different tools than this are left out."""
    max_tools_offered: int = 3
    """Rows that offer more tools than this are left out."""
    single_turn: bool = True
    """Leave out rows with more than one user message."""
    first_call_only: bool = True
    """Cut each row after its first reply with calls, so that long tool outputs do not use up --max-length."""
    max_rows: int | None = None
    """Read at most this many rows; of a prepared folder, this many training rows."""
    curriculum: bool = True
    """Train the rows of a folder prepared with --stages stage by stage in each epoch, shuffled within a stage only.
    Other rows have no stages."""
    max_length: int = 512
    """Longest row in tokens; longer rows are left out whole and counted."""
    max_bad_share: float = 0.1
    """Stop when more than this share of the rows cannot be read."""
    synthetic_rows: int = 1000
    """How many rows --source synthetic generates."""
    synthetic_kinds: tuple[str, ...] = ()
    """Share of each kind of synthetic row, as in one_call:0.5 several_calls:0.3; none takes the generator's own."""

    idle_options: bool = True
    """Synthetic rows: offer a called tool's optional parameters also where the request does not mention them."""

    method: Method = "lora"
    """What is trained: lora adds an adapter to frozen weights, qlora does so over packed weights, full trains every
    weight."""
    quantization: Quantization | None = None
    """How --method qlora packs the base weights, the embedding included; none takes nf4."""
    rank: int = 16
    """LoRA rank."""
    alpha: float = 16.0
    """LoRA alpha; the adapter's product is multiplied by alpha / rank."""
    modules: tuple[str, ...] = DEFAULT_MODULES
    """Modules that get LoRA, as regular expressions on the end of the module path; auto for every linear projection of
    the model's family."""

    packing: bool = True
    """Put several conversations into each row of a batch, each attending to itself only. Without packing every
    conversation is padded to the longest."""
    packed_length: int | None = None
    """Tokens of a packed row; none for 1,024, or --max-length where that is more. Twice the longest conversation and
    more leaves a few hundredths unused; --max-length itself can leave a fifth."""
    batch_size: int = 2
    """Packed rows per micro-batch, over all devices: 2 of 1,024 tokens hold some 6 conversations of Toucan. In TRL's
    terms with packing=True: per_device_train_batch_size times the devices, where max_length is --packed-length. With
    --no-packing, conversations."""
    gradient_accumulation: int = 1
    """Micro-batches per optimizer step."""
    epochs: float = 3.0
    """Passes over the training rows."""
    max_steps: int | None = None
    """Stop after this many optimizer steps, even within an epoch."""
    mesh: str = AUTO
    """Devices along each axis, as in data=2,fsdp=4,tensor=1: rows are spread over data and fsdp, weights cut along fsdp
    (by width) and tensor (by heads). auto keeps weights whole on every device if they fit, else cuts them along fsdp.
    """
    coordinator: str | None = None
    """HOST:PORT of process 0, for a run of several processes that neither Cloud TPU nor SLURM started; with
    --num-processes and --process-id."""
    num_processes: int | None = None
    """How many processes the run has; 1 alone keeps a process that SLURM started with others to itself."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    optimizer: Optimizer = "adamw"
    """Optimizer by its optax name."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    schedule: Schedule = "cosine"
    """Learning rate after the warm-up: constant, or falling to zero along a line or a half cosine."""
    warmup_share: float = 0.03
    """Share of the steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """Weight decay, for the optimizers that have it."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""
    label_smoothing: float = 0.0
    """Share of a target's weight that all tokens of the vocabulary get alike."""
    z_loss: float = 0.0
    """Factor of the squared log of the softmax's normalizer, added to the loss; 1e-4 where it is used."""
    spike_sd: float = 8.0
    """A step whose loss is this many standard deviations above the mean of the last ones (and 0.5 nats) is skipped, as
    one is that is not finite; 0 skips no spikes."""
    spike_window: int = 64
    """How many losses that mean and deviation are taken over; while there are fewer, no loss is a spike."""
    max_skipped: int = 5
    """Stop when this many steps in a row had to be skipped."""
    dtype: Dtype = "auto"
    """Compute dtype; auto is bfloat16 on a TPU, a GPU or a CPU with AMX, else float32. Adapter and optimizer stay
    float32."""
    remat: Remat = "auto"
    """What the backward pass computes again instead of keeping it: none, projections (a fifth more arithmetic) or
    layers (a third more); auto takes the least that fits a TPU or GPU, and none on a CPU."""
    seed: int = 0
    """Seed of the adapter, the split, the shuffle and the synthetic rows."""

    eval_share: float = 0.05
    """Share of the rows kept out of training for the evaluation loss; 0 turns it off. A prepared folder that was split
    says itself which."""
    eval_every: int = 100
    """Optimizer steps between evaluations."""
    accuracy_every: int = 0
    """Optimizer steps between measurements of tool-call accuracy on held-out rows; the best model is kept in the folder
    best of the run. 0 measures none."""
    accuracy_rows: int = 64
    """Held-out rows that are answered for it."""
    save_every: int = 100
    """Optimizer steps between checkpoints."""
    keep: int = 3
    """Checkpoints kept, newest first."""
    log_every: int = 10
    """Steps between printed lines where there is no progress bar."""
    report_to: tuple[Tracker, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl."""
    workers: int = 0
    """Worker processes for tokenising and batching; 0 batches in this process, and tokenises few rows here and many
    on all cores."""
    cache_dir: str | None = None
    """Where tokenised rows are kept for the next start; none for the folder tokens of GEMMA_TOOL_USE_CACHE, or of
    ~/.cache/gemma-tool-use."""
    profile: int = 0
    """Write a trace of this many steps, from the third on, into the folder profile of the run, for TensorBoard and
    Perfetto."""
    compilation_cache: bool = True
    """Keep compiled programs in the folder compiled of GEMMA_TOOL_USE_CACHE, or of ~/.cache/gemma-tool-use, so that
    the next start need not compile them; --no-compilation-cache turns it off."""
    compare_requests: int = 0
    """Held-out synthetic requests answered before and after training; 0 skips the comparison."""

    def __post_init__(self) -> None:
        problems = [problem for problem in self._problems() if problem]
        if problems:
            raise ConfigError("\n".join(problems))

    def _problems(self) -> list[str]:
        problems = [
            f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}"
            for name, least in _AT_LEAST.items()
            if getattr(self, name) is not None and getattr(self, name) < least
        ]
        problems += [
            f"--{name.replace('_', '-')} must be between 0 and 1, got {getattr(self, name)}"
            for name in ("warmup_share", "eval_share", "max_bad_share", "label_smoothing", "z_loss")
            if not 0 <= getattr(self, name) <= 1
        ]
        problems += [
            f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}"
            for name in ("learning_rate", "epochs", "alpha")
            if not getattr(self, name) > 0
        ]
        problems += [
            f"--synthetic-kinds must look like one_call:0.5, got {item!r}"
            for item in self.synthetic_kinds
            if not _is_number(item.partition(":")[2])
        ]
        problems += self._method_problems()
        problems += self._process_problems()
        problems += self._mesh_problems()
        problems += self._packing_problems()
        if self.accuracy_every and not self.eval_share:
            problems.append("--accuracy-every asks held-out rows, and --eval-share 0 holds none out; give it a share")
        if not problems:
            try:
                _ = self.lora
            except ConfigError as error:
                problems.append(f"--modules: {error}")
        return problems

    def _mesh_problems(self) -> list[str]:
        if self.mesh != AUTO:
            try:
                parse_mesh(self.mesh)
            except ConfigError as error:
                return [str(error)]
        return []

    def _process_problems(self) -> list[str]:
        if self.coordinator is None and self.process_id is None and self.num_processes in (None, 1):
            return []
        if self.coordinator is None or self.process_id is None or self.num_processes is None:
            return ["--coordinator, --num-processes and --process-id go together; give all three"]
        problems = []
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            problems.append(f"--coordinator must look like 10.0.0.1:1234, got {self.coordinator!r}")
        if not 0 <= self.process_id < self.num_processes:
            problems.append(
                f"--process-id counts from 0 to --num-processes - 1 = {self.num_processes - 1}, got {self.process_id}"
            )
        return problems

    def _method_problems(self) -> list[str]:
        if self.quantization is not None and self.method != "qlora":
            return [f"--quantization {self.quantization} needs --method qlora, got --method {self.method}"]
        return [
            f"--{name} shapes an adapter, and --method full trains the weights themselves; leave it out"
            for name in ("rank", "alpha", "modules")
            if self.method == "full" and getattr(self, name) != getattr(TrainConfig, name)
        ]

    @property
    def packed_as(self) -> Quantization | None:
        """How the base weights are packed; None leaves them as they are."""
        return (self.quantization or "nf4") if self.method == "qlora" else None

    def _packing_problems(self) -> list[str]:
        if self.packed_length is None:
            return []
        if not self.packing:
            return [
                f"--packed-length {self.packed_length} says nothing with --no-packing; give --packed-length None, as a "
                "preset may have set it"
            ]
        if self.packed_length < self.max_length:
            return [
                f"--packed-length {self.packed_length} is shorter than --max-length {self.max_length}, and rows are "
                f"never cut; give --packed-length {self.max_length} or more"
            ]
        return []

    @property
    def tokens_per_packed_row(self) -> int:
        """`packed_length` or its default."""
        return self.packed_length or max(_PACKED_LENGTH, -(-self.max_length // _TPU_LANES) * _TPU_LANES)

    @property
    def kinds(self) -> dict[str, float] | None:
        """`synthetic_kinds` as weights, None for the generator's own."""
        pairs = (item.partition(":") for item in self.synthetic_kinds)
        return {kind: float(weight) for kind, _, weight in pairs} or None

    def shared_flags(self) -> dict[str, str]:
        """What the processes of one run have in common: every flag but the number of the process, as text."""
        flags = dataclasses.asdict(self)
        own = ("process_id", "cache_dir", "model", "data", "output_dir")  # places may be called otherwise on each host
        return {f"--{name.replace('_', '-')}": repr(value) for name, value in flags.items() if name not in own}

    @property
    def lora(self) -> LoraSpec:
        return LoraSpec(rank=self.rank, alpha=self.alpha, modules=self.modules)


_PACKED_LENGTH = 1024
_TPU_LANES = 128  # attention kernels of a TPU take multiples of it
_AT_LEAST = {
    "max_tools_used": 0,
    "max_tools_offered": 1,
    "max_rows": 1,
    "max_length": 8,
    "synthetic_rows": 1,
    "rank": 1,
    "batch_size": 1,
    "num_processes": 1,
    "gradient_accumulation": 1,
    "max_steps": 1,
    "weight_decay": 0,
    "clip_norm": 0,
    "spike_sd": 0,
    "spike_window": 2,
    "max_skipped": 1,
    "eval_every": 1,
    "accuracy_every": 0,
    "accuracy_rows": 1,
    "save_every": 1,
    "keep": 1,
    "log_every": 1,
    "workers": 0,
    "compare_requests": 0,
    "profile": 0,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# What a resumed run may change without becoming another run. What --model, --data and --dtype stand for is compared
# itself; the last two are what a run that was stopped for its skipped steps can be continued with.
RESUME_MAY_CHANGE = frozenset(
    {
        "resume",
        "dry_run",
        "output_dir",
        "accuracy_every",
        "save_every",
        "keep",
        "log_every",
        "report_to",
        "workers",
        "cache_dir",
        "compilation_cache",
        "profile",
        "mesh",
        "coordinator",
        "num_processes",
        "process_id",
        "model",
        "data",
        "dtype",
        "max_skipped",
        "spike_sd",
    }
)

PRESETS = {
    "default": TrainConfig(),
    "quickstart": TrainConfig(
        model="embedded:gemma-3-270m",
        data="",
        source="synthetic",
        dialect="gemma_json_compact",
        output_dir="gemma3_270m_tool_calling_lora_quickstart",
        synthetic_rows=350,
        # Five minutes of two cores are some 330 rows of 135 tokens. That is enough to learn the format and the
        # arguments of one call. Choosing tools, several calls, leaving an option out and knowing when not to call take
        # more (see PLAN.md).
        synthetic_kinds=("one_call:1",),
        max_tools_offered=1,
        idle_options=False,
        max_length=160,
        epochs=1.0,
        # Few rows teach more in small steps; the trials stand in PLAN.md. 272 tokens hold two of these conversations
        # with 5 % to spare; 256 and 288 leave 14 and 10 % unused.
        packed_length=272,
        batch_size=1,
        dtype="float32",  # what its figures were measured in, also where auto is bfloat16
        learning_rate=5e-4,
        warmup_share=0.1,
        eval_share=0.02,
        eval_every=1000,
        save_every=50,
        keep=1,
        compare_requests=64,
    ),
}
