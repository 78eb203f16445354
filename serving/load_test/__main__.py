"""``python -m serving.load_test``: how fast a server answers, and how much, as JSON on stdout;
progress on stderr.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from configs.cli import CommandParser, run, seconds, whole_number
from configs.errors import InputError
from configs.progress import tracked
from serving.client import Client
from serving.client.connection import add_server_arguments, tls_of
from serving.client.failures import end
from serving.client.jsonl import logged_rows, slates
from serving.load_test.closed_loop import load
from serving.load_test.open_loop import ARRIVALS, Offered, arrivals, offer
from serving.load_test.plot import check_plot, plot
from serving.wire.errors import StatusError
from serving.wire.flag_spelling import with_dashes
from serving.wire.request_encoding import encoded
from serving.wire.signatures import DEFAULT_SIGNATURE

_WARM_UP = 1.0
"""Seconds of load before what is measured: connections are made, and the server's caches and
threads.
"""


def main(argv: Sequence[str]) -> None:
    """The command. Raises ``InputError`` for bad input; exits with code 1 where a request was
    refused, and 2, after one line, where there is no server.
    """
    arguments = _arguments(argv)
    if arguments.plot:
        if not arguments.rates:
            raise InputError(
                "--plot draws latency against the offered load: name rates with --rates"
            )
        check_plot(arguments.plot)
    try:
        rows, requests = _requests(arguments)
    except StatusError as error:
        end(error)
    result: dict[str, Any] = {
        "rows": rows,
        "different_requests": len(requests),
        "threads": arguments.threads,
    }
    if arguments.rates:
        measured = [_offer(arguments, requests, rate) for rate in arguments.rates]
        result |= {"arrivals": arguments.arrivals, "runs": [each.figures() for each in measured]}
        if arguments.plot:
            plot(
                result["runs"],
                arguments.plot,
                f"{arguments.model_name}, {rows} rows a request, {arguments.arrivals.title()}"
                " arrivals",
            )
        failed = any(each.errors for each in measured)
    else:
        deadline = arguments.deadline_ms / 1_000
        closed = load(
            arguments.target,
            requests,
            arguments.threads,
            arguments.seconds,
            warm_up=_WARM_UP,
            deadline=deadline,
            tls=tls_of(arguments),
        )
        result |= closed.figures()
        failed = bool(closed.errors)
    print(json.dumps(result, indent=1))
    sys.exit(1 if failed else 0)


def _requests(arguments: argparse.Namespace) -> tuple[int, list[bytes]]:
    """Rows of the first request, and the encoded requests. Raises ``InputError``,
    ``StatusError``.
    """
    cut = list(islice(slates(logged_rows(arguments.requests), arguments.rows), arguments.different))
    if len(cut) > 1 and len(cut[-1]) < arguments.rows:
        cut.pop()  # requests of one size, so that latencies can be compared
    model, signature = arguments.model_name, arguments.signature
    with Client(
        arguments.target,
        model,
        deadline_seconds=arguments.deadline_ms / 1_000,
        wait_for_ready=arguments.wait_for_ready,
        tls=tls_of(arguments),
    ) as client:
        known = client.signature(signature)
    return len(cut[0]), [
        encoded(known, model, signature, [row for _, row in slate], arguments.domain)
        for slate in cut
    ]


def _offer(arguments: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Offered:
    duration = _WARM_UP + arguments.seconds
    return offer(
        arguments.target,
        requests,
        arrivals(rate, duration, arguments.arrivals, arguments.seed),
        duration,
        warm_up=_WARM_UP,
        connections=arguments.threads,
        deadline=arguments.deadline_ms / 1_000,
        tls=tls_of(arguments),
        progress=lambda moments: tracked(f"{rate:g} requests/s", moments, "requests"),
    )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m serving.load_test",
        description="Latency and throughput of a server under load.",
    )
    add_server_arguments(parser)
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=200,
        metavar="N",
        help="rows of a request, cut from the file (%(default)s)",
    )
    parser.add_argument(
        "--different",
        type=whole_number(1),
        default=16,
        metavar="N",
        help="most requests sent in turns (%(default)s)",
    )
    parser.add_argument("--domain", help="domain of the rows that have no 'domain' of their own")
    parser.add_argument(
        "--signature",
        default=DEFAULT_SIGNATURE,
        metavar="NAME",
        help="signature to run (%(default)s)",
    )
    parser.add_argument(
        "--rate",
        "--rates",
        dest="rates",
        type=_rates,
        default=[],
        metavar="R[,R...]",
        help=(
            "open loop: offer so many requests a second, one rate after the other; latency counts"
            " from when a request is due"
        ),
    )
    parser.add_argument(
        "--arrivals",
        choices=ARRIVALS,
        default=ARRIVALS[0],
        help="open loop: gaps between requests (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="open loop: of the gaps (%(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1, 1024),
        default=8,
        metavar="N",
        help=(
            "closed loop (no --rate): requests under way at once; open loop: connections, used in"
            " turns (%(default)s)"
        ),
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=10.0,
        metavar="S",
        help="how long, for each rate, after one not measured (10)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="open loop: draw latency and throughput against offered load",
    )
    return parser.parse_args([with_dashes(word) for word in argv])


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise argparse.ArgumentTypeError(
            f"must be requests a second, several with commas between, received {text}"
        )
    return rates


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
