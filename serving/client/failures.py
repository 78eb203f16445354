"""A request that no server answered, and how the commands end where a server fails."""

import sys
from typing import NoReturn

import grpc

from serving.wire.errors import StatusError

_NOT_CONNECTED = (
    "connections to all backends failing",
    "errors resolving ",
    "failed to connect to all addresses",
    "DNS resolution failed",
)
"""How gRPC's own UNAVAILABLE begins; a server words its own."""


class UnreachableError(StatusError):
    """UNAVAILABLE: no server was reached, so the request was never answered."""


def status_error(target: str, error: grpc.RpcError) -> StatusError:
    """What became of a call to a target, as our own error."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NOT_CONNECTED):
        return UnreachableError(code, f"no server is reached at {target} ({details})")
    return StatusError(code, details)


def end(error: StatusError) -> NoReturn:
    """Ends a command after one line on stderr: exit code 2 where there is no server, or no such
    model or version on it; 1 where the server failed or refused.
    """
    if isinstance(error, UnreachableError):
        line = f"{error.message}: start it, or wait for it with --wait-for-ready"
    else:
        line = str(error)
    print(f"error: {line}", file=sys.stderr)
    asked_in_vain = isinstance(error, UnreachableError) or error.code is grpc.StatusCode.NOT_FOUND
    sys.exit(2 if asked_in_vain else 1)
