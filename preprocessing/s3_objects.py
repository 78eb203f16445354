"""Objects of S3 by Beam's client for it, kept from one file to the next: Beam's file system makes a
client for each file, which takes longer than to send a small one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_idle: list[tuple[Any, Any]] = []
"""Clients that nobody uses now, with the options they were made with; a forked process has its
own.
"""
os.register_at_fork(after_in_child=_idle.clear)


def is_s3(path: str) -> bool:
    """Whether a path is of S3."""
    return path.startswith("s3://")


@contextmanager
def created(path: str, options: Any) -> Iterator[Any]:
    """An object to write; ``options`` are Beam's. S3 shows it when the block has ended."""
    with _client(options) as s3, s3.open(path, "wb") as file:
        yield file


@contextmanager
def opened(path: str, options: Any) -> Iterator[Any]:
    """An object to read. Raises ``FileNotFoundError`` where there is none."""
    with _client(options) as s3, s3.open(path, "rb") as file:
        yield file


def put_empty(path: str, options: Any) -> None:
    """Writes an object without a byte. Beam sends what it writes in parts, and S3 takes no object
    of none.
    """
    from apache_beam.io.aws.s3io import parse_s3_path

    bucket, key = parse_s3_path(path)
    with _client(options) as s3:
        s3.client.client.put_object(Bucket=bucket, Key=key, Body=b"")


@contextmanager
def _client(options: Any) -> Iterator[Any]:
    """A client to oneself; one that has failed is not used again."""
    from apache_beam.io.aws.s3io import S3IO

    made_for, client = _idle.pop() if _idle else (None, None)
    if made_for is not options:
        client = S3IO(options=options)
    yield client
    _idle.append((options, client))
