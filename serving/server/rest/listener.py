"""Listens for HTTP: one request a connection, a bounded number of connections, none of them for
longer than it takes, and no traceback for a peer that hangs up.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_CONNECTIONS = 256
_IDLE_SECONDS = 10.0
_LONGEST_READ = 60.0
"""Seconds that a peer may take to send a request, however busily it sends."""
_MOST_BODY_BYTES = 16 << 20
"""JSON becomes some ten times its size when it is read."""


class _RefusedError(Exception):
    """A request that is not looked at: an HTTP status, and why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


Answer = tuple[int, str, bytes]
"""Status, content type, body."""
Handle = Callable[[str, str, bytes], Answer]
"""Takes method, path and body."""


@contextmanager
def listening(
    host: str,
    port: int,
    handle: Handle,
    report: Callable[[str], None],
    *,
    threads: int,
    most_connections: int = MOST_CONNECTIONS,
) -> Iterator[int]:
    """Answers requests while the context lasts.

    Args:
      host: address to listen on.
      port: port; 0 for a free one.
      handle: answers one request.
      report: takes a line about a request that failed for no reason of the peer's.
      threads: requests that are answered at once; more wait.
      most_connections: at once; what comes on top is answered with 503.

    Yields:
      The port.

    Raises:
      OSError: cannot listen there.
    """

    turns = threading.BoundedSemaphore(threads)

    class Handler(BaseHTTPRequestHandler):
        timeout = _IDLE_SECONDS

        def _handle(self) -> None:
            try:
                sent = self._body() if self.command == "POST" else b""
                server.has_read(self.connection)
                with turns:
                    status, kind, content = handle(self.command, self.path, sent)
            except _RefusedError as refused:
                status, kind, content = refused.status, "text/plain", refused.message.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815 - what http.server calls
        do_PUT = do_DELETE = do_PATCH = _handle  # noqa: N815

        def _body(self) -> bytes:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
            if len(length) > 12 or int(length) > _MOST_BODY_BYTES:
                raise _RefusedError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"a body may have {_MOST_BODY_BYTES} bytes; use gRPC for more",
                )
            content = self.rfile.read(int(length))
            if len(content) < int(length):
                raise ConnectionError("the peer has gone")
            return content

        def log_message(self, *arguments: object) -> None:
            """Says nothing: a probe comes every few seconds."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 128

        def __init__(self) -> None:
            self._reading: dict[Any, float] = {}
            self._free = threading.BoundedSemaphore(most_connections)
            super().__init__((host, port), Handler)

        def process_request(self, request: Any, address: Any) -> None:
            if not self._free.acquire(blocking=False):
                _refuse(request)
                self.shutdown_request(request)
                return
            self._reading[request] = time.monotonic()
            try:
                super().process_request(request, address)
            except BaseException:  # no thread could be started
                self._done(request)
                raise

        def process_request_thread(self, request: Any, address: Any) -> None:
            try:
                super().process_request_thread(request, address)
            finally:
                self._done(request)

        def _done(self, request: Any) -> None:
            self.has_read(request)
            self._free.release()

        def has_read(self, request: Any) -> None:
            """From now on it is us who take the time."""
            self._reading.pop(request, None)

        def service_actions(self) -> None:
            late = time.monotonic() - _LONGEST_READ
            for request, since in list(self._reading.items()):
                if since < late:
                    self.has_read(request)
                    _shut(request)

        def handle_error(self, request: Any, address: Any) -> None:
            error = sys.exc_info()[1]
            if not isinstance(error, ConnectionError | TimeoutError):
                report(f"HTTP request failed: {type(error).__name__}: {error}")

    try:
        server = Server()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    thread = threading.Thread(target=_serve, args=(server, report), name="http", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(server: ThreadingHTTPServer, report: Callable[[str], None]) -> None:
    """Until ``shutdown``, whatever is raised."""
    while True:
        try:
            server.serve_forever()
            return
        except Exception as error:
            report(f"HTTP: {type(error).__name__}: {error}; it goes on")
            time.sleep(1.0)


def _refuse(connection: socket.socket) -> None:
    try:
        connection.settimeout(0)
        connection.send(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        return


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
