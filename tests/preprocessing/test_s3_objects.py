"""A bucket is looked at before work begins: that it is not there, or that its store does not
answer, is said in one line and in seconds.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from configs import InputError
from preprocessing import filesystem, s3_objects


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time-outs, and nothing known of any bucket."""
    monkeypatch.setattr(s3_objects, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(s3_objects, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(s3_objects, "_answered", set())


class Forbidding(BaseHTTPRequestHandler):
    """Answers that nothing is allowed, and counts how often it is asked."""

    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def forbidding() -> Iterator[tuple[int, list[str]]]:
    """A store where nothing may be listed: its port, and what it was asked for."""

    class Handler(Forbidding):
        """Of this store alone."""

        asked: ClassVar[list[str]] = []

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, Handler.asked
        finally:
            server.shutdown()
            thread.join()


def test_a_bucket_that_is_not_there_is_said(store: str) -> None:
    assert filesystem.list_files(f"{store}/nothing-here") == {}
    for act in (
        lambda: filesystem.list_files("s3://no-such-bucket/job"),
        lambda: filesystem.read("s3://no-such-bucket/job/index.json"),
        lambda: filesystem.write("s3://no-such-bucket/job/index.json", b"{}"),
        lambda: filesystem.exists("s3://no-such-bucket/job/index.json"),
    ):
        with pytest.raises(InputError, match="s3://no-such-bucket is not there") as error:
            act()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("listening", [True, False], ids=["silent", "refused"])
def test_a_store_that_does_not_answer_is_said_in_seconds(
    listening: bool, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listening:
            server.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        begun = time.monotonic()
        with pytest.raises(InputError, match="the store of s3://bucket cannot be asked: ") as error:
            filesystem.read("s3://bucket/job/index.json")
        # two attempts and a pause between them; Beam's own client takes minutes
        assert time.monotonic() - begun < 60
        assert f":{port}/" in str(error.value)


def test_who_may_not_list_may_still_read_and_is_asked_once(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forbidding() as (port, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        options = filesystem._beam()._pipeline_options
        for _ in range(2):
            s3_objects.look("s3://bucket/job/*.parquet", options)
    assert len(asked) == 1
    assert "prefix=job%2F&" in asked[0]
