"""Runs several server processes on one port: the kernel gives each new connection to one of them
(``SO_REUSEPORT``, Linux and BSD).
"""

import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any


@contextmanager
def shared_port(host: str, port: int) -> Iterator[int]:
    """Keeps a port, 0 for a free one, for processes of this user that set ``SO_REUSEPORT``; gives
    its number.

    The port's own socket never listens, so no connection comes to it. Raises ``OSError`` where the
    port cannot be had.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, socket.SOCK_STREAM) as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(address)
        yield int(kept.getsockname()[1])


@contextmanager
def workers(
    count: int, target: Callable[..., None], arguments: Any, stop: threading.Event
) -> Iterator[Callable[[], None]]:
    """Runs ``target(arguments, ready)`` in new processes, which end with the context, and with this
    process.

    Args:
      count: how many.
      target: a function of a module; sets the event ``ready`` when it can be used, and ends at
        SIGTERM.
      arguments: anything that can be pickled.
      stop: is set when one of them ends by itself: whoever started this process shall start it
        again, whole.

    Yields:
      A function that returns when all of them are ready, or ``stop`` is set.

    Raises:
      ChildProcessError: at the end, where one ended by itself.
    """
    context = multiprocessing.get_context(
        "spawn"
    )  # TensorFlow's and gRPC's threads do not survive a fork
    events = [context.Event() for _ in range(count)]
    processes = [
        context.Process(target=target, args=(arguments, ready), daemon=True) for ready in events
    ]
    lost: list[int | None] = []

    def watch() -> None:
        ended = wait([process.sentinel for process in processes])
        if not stop.is_set():
            for process in processes:
                if process.sentinel in ended:
                    process.join()
                    lost.append(process.exitcode)
            stop.set()

    def all_ready() -> None:
        for ready in events:
            while not ready.wait(0.1) and not stop.is_set():
                pass

    for process in processes:
        process.start()
    if processes:
        threading.Thread(target=watch, name="watch-workers", daemon=True).start()
    try:
        yield all_ready
    finally:
        stop.set()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    if lost:
        raise ChildProcessError(f"a server process ended by itself (exit code {lost[0]})")


def stop_with_parent(stop: threading.Event) -> None:
    """Sets ``stop`` when the process that started this one is gone, however it went."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            stop.set()

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
