"""Every layout trains the same adapter as one device, and a mesh that cannot be is refused with one that can."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemma_tool_use.errors import ConfigError
from gemma_tool_use.models.gemma3 import GEMMA3_1B, GEMMA3_270M
from gemma_tool_use.training.config import TrainConfig
from gemma_tool_use.training.mesh import MeshShape, check_shape, default_shape, parse_mesh

TESTS = Path(__file__).parents[1]
LAYOUTS = ("data=8", "data=2,fsdp=4", "fsdp=8", "data=2,fsdp=2,tensor=2", "fsdp=4,tensor=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `mesh_run.py` says of each layout."""
    command = [sys.executable, str(TESTS / "mesh_run.py"), str(tmp_path_factory.mktemp("model")), *LAYOUTS]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_losses_and_the_adapter_of_one_device(trained: dict[str, Any], layout: str):
    np.testing.assert_allclose(trained[layout]["losses"], trained["one"]["losses"], rtol=1e-5)
    assert trained[layout]["adapter"] < 1e-5
    assert len(set(trained["one"]["losses"])) == len(trained["one"]["losses"])


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("data=2,fsdp=4,tensor=1", (2, 4, 1)),
        ("fsdp=4", (1, 4, 1)),
        (" tensor = 2 , data = 3 ", (3, 1, 2)),
    ],
)
def test_axes_that_are_not_named_have_one_device(text: str, shape: tuple[int, ...]):
    assert dataclasses.astuple(parse_mesh(text)) == shape
    assert parse_mesh(str(parse_mesh(text))) == parse_mesh(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("8", "must look like data=2"),
        ("", "must look like data=2"),
        ("data=-1", "must look like data=2"),
        ("data=0", "at least 1 device, got data=0"),
        ("tensr=2", "Did you mean 'tensor'"),
        ("data=2,data=4", "names data twice"),
    ],
)
def test_a_mesh_that_cannot_be_read_is_refused_with_the_flags(text: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        TrainConfig(mesh=text)


def test_a_mesh_of_another_number_of_devices_is_refused_with_meshes_that_fit():
    with pytest.raises(ConfigError) as error:
        check_shape(parse_mesh("data=2,fsdp=4"), devices=4, spec=GEMMA3_270M)
    assert "needs 8 devices, this run has 4" in str(error.value)
    assert "data=1,fsdp=4,tensor=1; data=4,fsdp=1,tensor=1; data=2,fsdp=2,tensor=1" in str(error.value)


def test_a_mesh_that_does_not_divide_the_model_names_what_and_both_numbers():
    with pytest.raises(ConfigError) as error:
        check_shape(MeshShape(fsdp=3, tensor=8), devices=24, spec=GEMMA3_270M)
    message = str(error.value)
    assert "fsdp=3 does not divide the model's width of 640" in message
    assert "tensor=8 does not divide the model's heads of 4" in message


def test_weights_stay_whole_where_they_fit_and_are_cut_into_the_fewest_parts_where_not():
    def choose(weight_bytes: float, device_bytes: int | None = 16 * 10**9, devices: int = 8) -> str:
        return str(
            default_shape(devices, weight_bytes=int(weight_bytes), device_bytes=device_bytes, width=GEMMA3_1B.embed_dim)
        )

    assert choose(2 * GEMMA3_270M.num_params) == "data=8,fsdp=1,tensor=1"
    assert choose(8e9) == "data=4,fsdp=2,tensor=1"
    assert choose(20e9) == "data=2,fsdp=4,tensor=1"
    assert choose(1e15) == "data=1,fsdp=8,tensor=1"
    assert choose(20e9, devices=5) == "data=5,fsdp=1,tensor=1"  # 5 does not divide the width of 1,152
    assert choose(1e15, device_bytes=None) == "data=8,fsdp=1,tensor=1"
