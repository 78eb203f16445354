"""Everything that is told of a request when it has been answered: metrics, the log of requests, and
those that were slow.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from serving.server.request_log.rotated_files import RotatedFiles
from serving.server.request_log.sampled_log import SampledLog
from serving.server.request_log.slow_requests import SLOW, SlowRequests

SLOW_PATH = "/monitoring/slow_requests"
"""Where slow requests are shown over HTTP."""


class RequestWatch:
    """What a server keeps of requests beside its metrics; nothing unless its flags ask for it.

    Attributes:
      slow: the slow requests; None where they are not asked for.
    """

    def __init__(self, log: SampledLog | None, slow: SlowRequests | None) -> None:
        self._log, self.slow = log, slow

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "RequestWatch":
        """What the command line asks for. Raises ``InputError`` where the folder cannot be used."""
        log = slow = None
        if arguments.request_log_dir is not None:
            most_bytes = arguments.request_log_bytes // arguments.processes
            file_bytes = min(arguments.request_log_file_bytes, most_bytes)
            files = RotatedFiles(arguments.request_log_dir, file_bytes, most_bytes)
            log = SampledLog(files, arguments.request_log_sampling)
        if arguments.slow_request_ms is not None:
            slow = SlowRequests(arguments.slow_request_ms / 1_000, arguments.slow_requests)
        return cls(log, slow)

    def kept(self) -> Mapping[str, int]:
        """What became of the requests that were to be logged, and under ``SLOW`` how many were
        slow.
        """
        counts: dict[str, int] = dict(self._log.outcomes) if self._log else {}
        return counts | ({SLOW: self.slow.count} if self.slow else {})

    def observe(
        self,
        request: Any,
        code: grpc.StatusCode,
        seconds: float,
        response: Any = None,
        entrypoint: str = "GRPC",
    ) -> None:
        """Takes a request that was answered or refused; the arguments are those of
        ``Metrics.observe``. Those that were slow are logged whatever the sample draws. What fails
        here is said on stderr and raises nothing.
        """
        try:
            slow = self.slow is not None and seconds >= self.slow.seconds
            logged = False
            if self._log and code is grpc.StatusCode.OK and response is not None:
                logged = self._log.offer(request, response, always=slow)
            if slow and self.slow:
                self.slow.add(request, code, seconds, entrypoint, logged=logged)
        except Exception as error:
            print(f"request log: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Writes what waits to be logged."""
        if self._log:
            self._log.close()


def each(*observers: Callable[..., None]) -> Callable[..., None]:
    """One observer that tells several, in order."""

    def observe(*arguments: Any, **named: Any) -> None:
        for one in observers:
            one(*arguments, **named)

    return observe
