"""An S3 server on loopback (moto's), and writers into it that are cut off."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from preprocessing import filesystem

BUCKET = "bucket"


@contextmanager
def running_store(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Starts the server and gives a bucket's path. Clients find it by their environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.stop()


class Killed(BaseException):
    """What no ``except Exception`` catches: as far as a test can, what ``kill -9`` is."""


class _Cut:
    """Beam's file systems, of which the caller is killed after some changes of what is stored."""

    def __init__(self, changes: int) -> None:
        self.systems, self.created, self.left = filesystem._beam(), filesystem._created, changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.systems, name)

    def _changed(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def create(self, path: str) -> AbstractContextManager[Any]:
        self._changed()
        return self.created(path)

    def rename(self, *words: Any) -> None:
        self._changed()
        self.systems.rename(*words)

    def delete(self, *words: Any) -> None:
        self._changed()
        self.systems.delete(*words)


def killed_after(changes: int, act: Callable[[], object]) -> bool:
    """Runs something that is killed before the change after so many; whether it was."""
    with pytest.MonkeyPatch.context() as patch:
        cut = _Cut(changes)
        patch.setattr(filesystem, "_beam", lambda: cut)
        patch.setattr(filesystem, "_created", cut.create)
        try:
            act()
        except Killed:
            return True
    return False


def store_folder(folder: Path, path: str) -> None:
    """Copies a local folder to a remote one, file by file, as other tools do."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            filesystem.put(f"{path}/{file.relative_to(folder).as_posix()}", [file.read_bytes()])


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but for those that are hidden."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
