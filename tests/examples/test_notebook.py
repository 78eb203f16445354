"""The notebook runs from its first cell to its last, in a kernel of its own."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own libraries
def test_the_notebook_runs_and_draws(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]  # none is committed
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    # ipykernel shows what other processes print, but not where it finds itself in a test
    others = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    client.execute(env=others | own)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    said = "".join(output.get("text", "") for output in outputs)
    assert "analyse: " in said  # progress bars
    (last,) = (output["data"]["text/plain"] for output in outputs[-1:])
    assert last.count("'s") == 5
