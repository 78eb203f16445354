"""The peers' Python environments: of their own, because what they need conflicts with ours, and
pinned.
"""

import os
import subprocess
import sys
from pathlib import Path

VARIABLE = "RECSYS_PEERS"
"""Names a folder with environments made before, a folder of each peer's name."""

PINS = {
    "plain_keras": (),
    "torch_rechub": (
        "torch==2.13.0",
        "torch-rechub==0.9.0",
        "numpy==2.4.6",
        "pandas==3.1.1",
        "scikit-learn==1.9.1",
        "tqdm==4.70.1",
    ),
    "deepctr": (
        "deepctr==0.9.4",
        "tensorflow==2.21.0",
        "tf_keras==2.21.0",
        "numpy==2.4.6",
        "h5py==3.14.0",
        "requests==2.34.2",
    ),
}
"""All that a peer imports; the peers' own requirements are not followed, since they name
packages that the pinned ones replace.
"""

_UNFOLLOWED = ("torch-rechub", "deepctr")
_INSTALL_SECONDS = 900


def interpreter(peer: str, folder: Path, install: bool) -> Path | str:
    """The Python that has a peer's packages, or a text that says why there is none.

    Args:
      peer: of ``PINS``; one without pins runs in this environment.
      folder: where environments are made, unless ``VARIABLE`` names another.
      install: whether to make one where there is none; needs a package index.
    """
    if not PINS[peer]:
        return Path(sys.executable)
    home = Path(os.environ.get(VARIABLE, folder)) / peer
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    if not install:
        return f"no environment {home.name} in {VARIABLE}; the quick run makes none"
    apart = [pin for pin in PINS[peer] if pin.startswith(_UNFOLLOWED)]
    together = [pin for pin in PINS[peer] if pin not in apart]
    for words in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *together],
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *apart],
    ):
        try:
            done = subprocess.run(  # noqa: S603 - our own words
                words, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"cannot be installed: {type(error).__name__}"
        if done.returncode:
            return f"cannot be installed: {last_line(done.stderr)}"
    (home / "complete").touch()
    return python


def last_line(text: str) -> str:
    """The last line that is not empty."""
    return next(
        (line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message"
    )
