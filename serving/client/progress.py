"""How far a command is, for people: a bar on a terminal, and nothing in a file."""

import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def bar(requests: Iterable[T], title: str) -> Iterable[T]:
    """Passes requests on and counts them on stderr, where that is a terminal: a bar rewrites its
    line with control characters.
    """
    if not sys.stderr.isatty():
        return requests
    from tqdm import tqdm

    return tqdm(  # type: ignore[no-any-return, unused-ignore]
        requests, desc=title, unit=" requests", mininterval=0.5, dynamic_ncols=True
    )
