"""The notebook runs from top to bottom on the real weights, and its two files are the same notebook."""

import importlib.util
from pathlib import Path

import jupytext
import nbclient
import pytest

from gemma_tool_use.doctor import EMBEDDED_MODULE

SOURCE = Path(__file__).resolve().parents[1] / "notebooks" / "lora_gemma.py"

# Two steps show that everything fits together; that the model learns is the quickstart's own test.
SHORT = """
MODEL = "embedded:gemma-3-270m"
RUN = "run"
TRAIN_FLAGS = ["--preset", "quickstart", "--max-steps", "2", "--synthetic-rows", "40", "--compare-requests", "0"]
REQUESTS = 2
"""


def test_the_notebook_and_its_source_are_the_same():
    made, source = jupytext.read(SOURCE.with_suffix(".ipynb")), jupytext.read(SOURCE)
    cells = [[(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells] for notebook in (made, source)]
    assert cells[0] == cells[1], "run: uv run jupytext --to ipynb notebooks/lora_gemma.py"
    assert not any(cell.get("outputs") for cell in made.cells)


@pytest.mark.real_weights
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    if importlib.util.find_spec(EMBEDDED_MODULE) is None:
        pytest.skip("the embedded weights are not installed: uv sync")
    notebook = jupytext.read(SOURCE)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = SHORT
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "216 arrays, rank 16" in text
    assert "without the adapter:" in text and "with the adapter:" in text
