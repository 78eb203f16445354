"""``python -m serving.client``: score rows of raw features, JSON lines in, JSON lines out."""

import argparse
import sys
from collections.abc import Sequence

from configs.cli import CommandParser, run, whole_number
from serving.client.client import Client
from serving.client.connection import MOST_ATTEMPTS, add_server_arguments, tls_of, version_or_label
from serving.client.failures import end
from serving.client.jsonl import json_line, logged_rows, slates
from serving.wire.errors import StatusError
from serving.wire.flag_spelling import with_dashes
from serving.wire.signatures import DEFAULT_SIGNATURE


def main(argv: Sequence[str]) -> None:
    """The command. Raises ``InputError`` for bad input; exits after one line with code 2
    where there is no server, and 1 where the server fails.
    """
    arguments = _arguments(argv)
    client = Client(
        arguments.target,
        arguments.model_name,
        version=arguments.version,
        deadline_seconds=arguments.deadline_ms / 1000,
        batch_size=arguments.batch_size,
        attempts=arguments.attempts,
        wait_for_ready=arguments.wait_for_ready,
        tls=tls_of(arguments),
        strict_domain=arguments.strict_domain,
    )
    try:
        with client:
            for batch in slates(logged_rows(arguments.requests), arguments.batch_size):
                answers = client.predict(
                    [row for _, row in batch],
                    arguments.domain,
                    arguments.signature,
                    ignore_unknown=arguments.ignore_unknown,
                    place=lambda index, batch=batch: batch[index][0],  # type: ignore[misc]
                )
                sys.stdout.write("".join(json_line(answer) for answer in answers))
                sys.stdout.flush()
    except StatusError as error:
        end(error)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m serving.client",
        description="Score rows of raw features: JSON lines in, JSON lines out.",
    )
    add_server_arguments(parser)
    parser.add_argument("--domain", help="domain of the rows that have no 'domain' of their own")
    parser.add_argument(
        "--signature",
        default=DEFAULT_SIGNATURE,
        metavar="NAME",
        help="signature to run (%(default)s)",
    )
    parser.add_argument(
        "--version",
        type=version_or_label,
        metavar="N",
        help="version, or version label, that must answer (the newest)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=256,
        metavar="N",
        help="most rows in a request (%(default)s)",
    )
    parser.add_argument(
        "--attempts",
        type=whole_number(1, MOST_ATTEMPTS),
        default=MOST_ATTEMPTS,
        metavar="N",
        help=(
            "how often to send a request while the server is UNAVAILABLE or overloaded, at most"
            " (%(default)s)"
        ),
    )
    parser.add_argument(
        "--strict-domain",
        action="store_true",
        help="stop where another domain than the one asked for has answered; a warning otherwise",
    )
    parser.add_argument(
        "--ignore-unknown",
        action="store_true",
        help="skip keys that the signature does not take (labels in a log)",
    )
    return parser.parse_args([with_dashes(word) for word in argv])


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
