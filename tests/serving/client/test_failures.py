"""The commands end with a line and the exit code that says whose turn it is."""

import grpc
import pytest

from serving.client.failures import UnreachableError, end, status_error
from serving.wire.errors import StatusError


class Refusal(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        self.code, self.details = lambda: code, lambda: details


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (
            "UNAVAILABLE",
            "connections to all backends failing; last error: refused",
            UnreachableError,
        ),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: tls", UnreachableError),
        ("UNAVAILABLE", "DNS resolution failed for host:1", UnreachableError),
        ("UNAVAILABLE", "errors resolving host:1: [...]", UnreachableError),
        ("UNAVAILABLE", "The batch scheduling queue is full", StatusError),
        ("DEADLINE_EXCEEDED", "failed to connect to all addresses", StatusError),
        ("INTERNAL", None, StatusError),
    ],
)
def test_only_gRPCs_own_words_mean_that_there_is_no_server(  # noqa: N802
    code: str, details: str | None, kind: type[StatusError]
) -> None:
    error = status_error("host:1", Refusal(grpc.StatusCode[code], details))
    assert type(error) is kind and error.code.name == code


def test_the_line_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        end(UnreachableError(grpc.StatusCode.UNAVAILABLE, "no server is reached at host:1 (why)"))
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        end(StatusError(grpc.StatusCode.INTERNAL, "broken"))
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: no server is reached at host:1 (why): start it, or wait for it with"
        " --wait-for-ready",
        "error: INTERNAL: broken",
    ]
