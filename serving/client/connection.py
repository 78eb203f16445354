"""How the server is reached: the channel, TLS, retries, and the flags that say so on a command
line.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from configs.cli import whole_number
from configs.errors import InputError

MOST_ATTEMPTS = 5
"""gRPC makes no more of them, whatever is asked."""
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_BALANCED: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
"""A name with several addresses (a headless service) stands for several servers: requests go to
them in turns.
"""


@dataclass(frozen=True)
class Tls:
    """Files in PEM that an encrypted connection needs.

    Attributes:
      ca: certificates that may have signed the server's.
      certificate: the client's own, where the server asks for one (``client_verify``).
      key: its private key; both or neither.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises ``InputError``."""
        if (self.certificate is None) != (self.key is None):
            raise InputError(
                "a client certificate needs its key and a key its certificate; received only one of"
                " them"
            )
        return grpc.ssl_channel_credentials(
            *(path and _pem(path) for path in (self.ca, self.key, self.certificate))
        )


def open_channel(
    target: str, tls: Tls | None = None, *, attempts: int = 1, shared: bool = True
) -> grpc.Channel:
    """A channel, which connects when the first request is sent.

    A request that the server answers with UNAVAILABLE, or with RESOURCE_EXHAUSTED as it has no
    thread left, or that finds no server, is sent again after about 0.1, 0.2, 0.4 and 0.8 seconds,
    never past its deadline. gRPC does that itself (its retry policy): it adds the jitter, knows
    which requests never left, and stops when too many fail, so that clients do not bury a server
    that comes back. Predict changes nothing, so sending it twice does no harm.

    Args:
      target: ``HOST:PORT``.
      tls: None for an unencrypted connection.
      attempts: how often a request is sent at most, from 1 to ``MOST_ATTEMPTS``.
      shared: whether channels of this process to the same target may share a connection.

    Raises:
      InputError: TLS files that cannot be used.
    """
    options = [
        *_UNLIMITED,
        ("grpc.use_local_subchannel_pool", int(not shared)),
        ("grpc.enable_retries", int(attempts > 1)),
        (
            "grpc.service_config",
            json.dumps(_BALANCED | (_retries(attempts) if attempts > 1 else {})),
        ),
    ]
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, tls.credentials(), options=options)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which model of which server is asked, how, and with which rows."""
    parser.add_argument(
        "--target",
        required=True,
        type=host_and_port,
        metavar="HOST:PORT",
        help="where the server listens",
    )
    parser.add_argument(
        "--model-name", required=True, metavar="NAME", help="the model, as the server calls it"
    )
    parser.add_argument(
        "--requests",
        required=True,
        metavar="FILE",
        help="a JSON object of raw features in each line; - for stdin",
    )
    parser.add_argument(
        "--deadline-ms",
        type=whole_number(1),
        default=30_000,
        metavar="MS",
        help="for each request (%(default)s)",
    )
    parser.add_argument(
        "--wait-for-ready",
        action="store_true",
        help="wait, up to the deadline, for a server that cannot be reached",
    )
    parser.add_argument(
        "--tls-ca-file",
        type=Path,
        metavar="PEM",
        help="connect by TLS; certificates that may have signed the server's",
    )
    parser.add_argument(
        "--tls-certificate-file",
        type=Path,
        metavar="PEM",
        help="the client's certificate, where the server wants one",
    )
    parser.add_argument("--tls-key-file", type=Path, metavar="PEM", help="its private key")


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """What ``add_server_arguments`` says of TLS. Raises ``InputError``."""
    if arguments.tls_ca_file is None:
        if arguments.tls_certificate_file or arguments.tls_key_file:
            raise InputError("--tls-certificate-file and --tls-key-file need --tls-ca-file")
        return None
    return Tls(arguments.tls_ca_file, arguments.tls_certificate_file, arguments.tls_key_file)


def host_and_port(text: str) -> str:
    """An argparse type: ``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, received {text!r}")
    return text


def version_or_label(text: str) -> int | str:
    """An argparse type: a version's number, or else its label."""
    return whole_number(0, 2**63 - 1)(text) if text.lstrip("-").isdecimal() else text


def _retries(attempts: int) -> dict[str, Any]:
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": [
            grpc.StatusCode.UNAVAILABLE.name,
            grpc.StatusCode.RESOURCE_EXHAUSTED.name,
        ],
    }
    return {
        "methodConfig": [{"name": [{}], "retryPolicy": policy}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }


def _pem(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise InputError(f"{path}: not a PEM file (it has no line that begins with -----BEGIN)")
    return content
