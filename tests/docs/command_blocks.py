"""A page's fenced blocks, and a shell that runs its commands: it is bash, but its ``python -m`` is
this process, which has TensorFlow loaded already.
"""

import contextlib
import os
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.conftest import ROOT

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = """
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
source() { :; }
python() {
    if [[ $2 == serving.server ]]; then exec "$PYTHON" "$@" &>>server.log ASK>&- ANSWER<&-; fi
    printf '%s\\0' "$@" '' >&ASK
    local code
    read -r code <&ANSWER
    cat stderr.txt >&2
    cat stdout.txt
    return "$code"
}
"""
"""What stands before a page's own commands. A server is a process of its own; ``.venv`` is the
environment of the tests.
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
      language: as it stands behind the fence.
      text: what stands between the fences.
      reason: why it is not run; empty where it is.
    """

    language: str
    text: str
    reason: str


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a language, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    all_of_them = [Block(one["language"], one["text"], one["reason"] or "") for one in found]
    return [block for block in all_of_them if block.language == language]


def run_page(page: Path, folder: Path, replaced: Mapping[str, str]) -> str:
    """Runs a page's blocks of language ``bash`` one after the other in one shell, as far as they
    are to be run; fails where one of their commands does.

    Args:
      page: the Markdown file.
      folder: where the shell is.
      replaced: what stands on the page -> what is run in its place, such as a port.

    Returns:
      What the commands have printed.
    """
    script = "".join(block.text for block in blocks(page, "bash") if not block.reason)
    for former, new in replaced.items():
        script = script.replace(former, new)
    ask, asked = os.pipe()
    answered, answer = os.pipe()
    head = _SHELL.replace("ASK", str(asked)).replace("ANSWER", str(answered))
    output = folder / "output.txt"
    with output.open("wb") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", head + script],
            cwd=folder,
            env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
            pass_fds=(asked, answered),
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    os.close(asked)
    os.close(answered)
    with shell, os.fdopen(ask, "rb") as questions, os.fdopen(answer, "w") as answers:
        try:
            while words := _question(questions):
                code = run_module(words, folder)
                with contextlib.suppress(BrokenPipeError):
                    print(code, file=answers, flush=True)
        except BaseException:
            shell.terminate()
            raise
    assert shell.returncode == 0, f"{page.name}:\n{output.read_text()}"
    return output.read_text()


def _question(questions: IO[bytes]) -> list[str]:
    """The words of the next command; none where the shell has ended. Each ends with a NUL, and so
    does the command.
    """
    words = [b""]
    while letter := questions.read(1):
        if letter != b"\0":
            words[-1] += letter
        elif words[-1]:
            words.append(b"")
        else:
            return [word.decode() for word in words[:-1]]
    return []


def run_module(words: list[str], folder: Path) -> int:
    """Runs ``-m module ...`` in this process, in a folder, with what it prints in ``stdout.txt``
    and ``stderr.txt`` there; gives its exit code.
    """
    flag, module, *arguments = words
    assert flag == "-m", words
    former = sys.argv
    sys.argv = [module, *arguments]
    with (
        (folder / "stdout.txt").open("w") as stdout,
        (folder / "stderr.txt").open("w") as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        contextlib.chdir(folder),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", r"'[\w.]+' found in sys.modules", RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            sys.argv = former
    return 0
