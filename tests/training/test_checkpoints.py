"""Checkpoints of a small model: what they hold, what damage does to them, and what a full disk does to a run."""

import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gemma_tool_use.errors import CheckpointError, ConfigError, TrainingError
from gemma_tool_use.training import checkpoints as module
from gemma_tool_use.training.checkpoints import Checkpoints, require_space

Trained = namedtuple("Trained", "model optimizer")


class Small(nnx.Module):
    """Two LoRA arrays that do not compress, a frozen one, and a random state."""

    def __init__(self, seed):
        self.a = nnx.LoRAParam(jax.random.normal(jax.random.key(seed), (400, 64)))
        self.b = nnx.LoRAParam(jnp.full((64, 8), float(seed)))
        self.frozen = nnx.Param(jnp.ones(3))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=seed))


def trained(seed):
    model = Small(seed)
    optimizer = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.LoRAParam)
    gradients = jax.tree.map(lambda x: jax.random.normal(jax.random.key(9), x.shape), nnx.state(model, nnx.LoRAParam))
    for _ in range(seed):
        optimizer.update(model, gradients)
        model.dropout(jnp.ones(2))
    return Trained(model, optimizer)


def arrays(one):
    leaves = jax.tree.leaves((nnx.state(one.model), nnx.state(one.optimizer)))
    return [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in leaves
    ]


def assert_same(one, other):
    for first, second in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(first, second)


def save(checkpoints, *steps):
    for step in steps:
        metadata = {"data": {"next_index": step}}
        checkpoints.save(step, *trained(step), save_only_lora_params=True, force=True, custom_metadata=metadata)


def restore(folder, **options):
    one = trained(0)
    checkpoints = Checkpoints(folder, save_every=1, keep=3, **options)
    try:
        step, metadata = checkpoints.maybe_restore(*one, restore_only_lora_params=True)
    finally:
        checkpoints.close()
    return one, step, metadata


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(folder, save_every=1, keep=3)
    save(checkpoints, 1, 2)
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def test_a_checkpoint_brings_back_every_bit_the_place_in_the_rows_and_the_random_state(saved):
    one, step, metadata = restore(saved)
    assert (step, metadata) == (2, {"data": {"next_index": 2}})
    assert_same(one, trained(2))
    assert one.model.dropout.rngs is not None
    assert int(one.model.dropout.rngs.count[...]) == 2


def test_an_empty_folder_is_the_beginning(tmp_path):
    one, step, metadata = restore(tmp_path / "nothing")
    assert (step, metadata) == (0, {})
    assert_same(one, trained(0))


def test_the_first_step_and_every_interval_are_saved_and_the_newest_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", save_every=2, keep=2)
    one = trained(1)
    done = [step for step in range(1, 8) if checkpoints.save(step, *one, save_only_lora_params=True)]
    checkpoints.close()
    assert done == [1, 2, 4, 6]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["4", "6"]


def used_files(step):
    """What is read again; the rest of a step's folder are notes of how it was written."""
    parts = (step / "model_params", step / "optimizer_state")
    # Into how many files Orbax divides the values depends on its threads.
    values = [max(part.rglob("ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size) for part in parts]
    names = ("model_params/_METADATA", "model_params/manifest.ocdbt", "run_state/metadata", "optimizer_state/_METADATA")
    return [*values, *(step / name for name in names)]


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def empty(file):
    os.truncate(file, 0)


def overwrite_the_middle(file):
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\x00\xff" * 4
    file.write_bytes(content)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *((file, damage) for file in range(6) for damage in (truncate, overwrite_the_middle)),
        (0, empty),
        (3, Path.unlink),
    ],
)
def test_a_damaged_newest_checkpoint_is_renamed_and_the_one_before_taken(folder, file, damage, capsys):
    damage(used_files(folder / "2")[file])
    one, step, metadata = restore(folder)
    assert (step, metadata) == (1, {"data": {"next_index": 1}})
    assert_same(one, trained(1))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "damaged-2"]
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the checkpoint of step 2 is damaged (")
    assert warning.endswith(f"); it is now {folder / 'damaged-2'}. Continuing from the one of step 1\n")


def test_a_single_flipped_bit_of_a_value_is_noticed(folder, capsys):
    values = used_files(folder / "2")[0]
    content = bytearray(values.read_bytes())
    content[random.Random(5).randrange(len(content))] ^= 16
    values.write_bytes(content)
    assert restore(folder)[1] == 1
    assert "values in model_params are not those that were saved" in capsys.readouterr().err


def test_another_place_in_the_rows_is_noticed(folder, capsys):
    file = folder / "2" / "run_state" / "metadata"
    file.write_text(file.read_text().replace('"next_index": 2', '"next_index": 3'))
    assert restore(folder)[1] == 1
    assert "run_state has another sha256 than when it was saved" in capsys.readouterr().err


def test_a_step_set_aside_can_be_saved_and_damaged_again(folder):
    for name in ("damaged-2", "damaged-2-2"):
        empty(folder / "2" / "run_state" / "metadata")
        assert restore(folder)[1] == 1
        assert (folder / name).is_dir()
        checkpoints = Checkpoints(folder, save_every=1, keep=3)
        save(checkpoints, 2)
        checkpoints.close()
        assert restore(folder)[1] == 2


def test_when_no_checkpoint_is_good_all_stay_and_each_is_named(folder):
    for step in ("1", "2"):
        empty(folder / step / "run_state" / "metadata")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    expected = f"no checkpoint in {folder} can be read: 2 (Expecting value: line 1 column 1 (char 0)); 1 (Expecting"
    with pytest.raises(CheckpointError, match=re.escape(expected)) as raised:
        restore(folder)
    assert "move that folder away, and --resume starts at the first step; nothing was changed" in str(raised.value)
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_a_half_written_checkpoint_of_a_killed_run_is_not_seen_and_is_replaced(folder):
    shutil.copytree(folder / "2", folder / "3.orbax-checkpoint-tmp")
    checkpoints = Checkpoints(folder, save_every=1, keep=3)
    assert checkpoints.maybe_restore(*trained(0), restore_only_lora_params=True)[0] == 2
    save(checkpoints, 3)
    checkpoints.close()
    assert restore(folder)[1] == 3
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]


def assert_stops(folder, why, *, step):
    """Saving `step` says what is wrong in one message, and the checkpoints before it are as good as ever."""
    checkpoints = Checkpoints(folder, save_every=1, keep=3)
    with pytest.raises(TrainingError) as raised:
        save(checkpoints, step)
        checkpoints.wait()
    message = str(raised.value)
    assert message.startswith(f"{folder} cannot be written: ")
    assert why in message
    assert re.search(r"; [\d,]+ bytes are free there\. The newest whole checkpoint is that of step 2\. ", message)
    assert message.endswith(
        "A checkpoint takes 313,364 bytes, and up to 4 exist at a time (--keep 3). Free some space, or move the folder "
        "to where there is some, and go on with --resume"
    )
    checkpoints.close()


def test_a_file_that_may_not_grow_stops_with_the_last_checkpoint_whole(folder):
    """A limit on the size of files stands in for a full disk where no small disk can be mounted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert_stops(folder, "File too large", step=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one, step, _ = restore(folder)
    assert step == 2
    assert_same(one, trained(2))


@pytest.fixture
def small_disk(tmp_path):
    """1 MB in memory: room for two checkpoints."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_stops_with_the_last_checkpoint_whole_and_continues_when_there_is_room(saved, small_disk):
    folder = Path(shutil.copytree(saved, small_disk / "checkpoints"))
    assert_stops(folder, "No space left on device; ", step=3)
    assert restore(folder)[1] == 2
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    checkpoints = Checkpoints(folder, save_every=1, keep=3)
    save(checkpoints, 3)
    checkpoints.close()
    one, step, _ = restore(folder)
    assert step == 3
    assert_same(one, trained(3))


def test_a_failure_in_the_background_is_told_at_the_next_step(folder):
    checkpoints = Checkpoints(folder, save_every=100, keep=3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        save(checkpoints, 3)
        with pytest.raises(TrainingError, match="File too large"):
            for step in range(4, 100):
                time.sleep(0.05)
                assert not checkpoints.should_save(step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        checkpoints.close()


def test_too_little_space_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(4_999))
    require_space(tmp_path / "checkpoints", checkpoint_bytes=999, keep=3)
    expected = (
        f"{tmp_path} has 4,999 bytes free, and this run needs 5,000: 5 times 1,000 for checkpoints. Free some space, "
        "choose an --output-dir on another disk, or lower --keep 3 or the rank"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        require_space(tmp_path / "checkpoints", checkpoint_bytes=1_000, keep=3)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "1" / "values").write_bytes(bytes(1_000))
    require_space(tmp_path / "checkpoints", checkpoint_bytes=1_000, keep=3)


def test_other_errors_are_not_taken_for_a_full_disk(folder):
    checkpoints = Checkpoints(folder, save_every=1, keep=3)
    with pytest.raises(ValueError, match="not a storage problem"), checkpoints.explained():
        raise ValueError("not a storage problem")
    checkpoints.close()
