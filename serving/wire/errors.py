"""Failures as gRPC sees them: a status code and one line."""

import grpc

LONGEST_MESSAGE = 1500
"""Characters of a message that are sent, at most."""

_MOST_HEADER_BYTES = 6 << 10
"""What they may take in a header, where gRPC spells a byte outside printable ASCII with three:
peers refuse headers beyond 8 KiB, by chance the more often the longer they are.
"""


class StatusError(Exception):
    """A request that failed.

    Attributes:
      code: the gRPC status code.
      message: why, in one line.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        self.message = _cut(" ".join(message.split()))
        super().__init__(f"{code.name}: {self.message}")

    @property
    def number(self) -> int:
        """The code as a number, the same for gRPC and for TensorFlow."""
        return int(self.code.value[0])


def _cut(message: str) -> str:
    """The beginning of a message that a header can carry."""
    size = 0
    for position, letter in enumerate(message[:LONGEST_MESSAGE]):
        plain = " " <= letter <= "~" and letter != "%"
        size += 1 if plain else 3 * len(letter.encode(errors="surrogatepass"))
        if size > _MOST_HEADER_BYTES:
            return message[:position]
    return message[:LONGEST_MESSAGE]


def invalid(message: str) -> StatusError:
    """INVALID_ARGUMENT, by far the most frequent failure."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def deadline_exceeded() -> StatusError:
    """DEADLINE_EXCEEDED for a request that was not run: nobody waits for its answer any more."""
    return StatusError(
        grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the request was run"
    )
