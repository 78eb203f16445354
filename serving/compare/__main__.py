"""``python -m serving.compare``: replays logged requests against two versions, servers or domains
and says what would change.

Differences are paired, row by row; their intervals resample whole requests.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from configs.cli import CommandParser, run, whole_number
from configs.errors import InputError
from configs.prediction.score import SCORE
from configs.progress import tracked
from configs.terminal.plain_text import fit, wrap
from serving.client import Client
from serving.client.asked_model import Reply
from serving.client.connection import add_server_arguments, host_and_port, tls_of, version_or_label
from serving.client.failures import end
from serving.client.jsonl import LoggedRow, json_line
from serving.compare.logged_traffic import replayed_requests
from serving.compare.paired_differences import Paired
from serving.wire.errors import StatusError
from serving.wire.flag_spelling import with_dashes
from serving.wire.row_codec import Row
from serving.wire.signatures import DOMAIN, SERVED_DOMAIN


@dataclass(frozen=True)
class Side:
    """One of the two that score the rows.

    Attributes:
      client: asks the model.
      domain: of every row, in place of the row's own; None for that.
    """

    client: Client
    domain: str | None


def replay(
    requests: Iterator[list[LoggedRow]], first: Side, other: Side
) -> Iterator[tuple[list[str], Reply, Reply]]:
    """Where a request's rows came from and what each side answers, request by request.

    Sides that differ by the domain alone (the same ``client``) are asked in one request that holds
    the rows twice, so that the same version answers both; others are asked at the same time. Raises
    ``InputError``, ``StatusError``.
    """
    with ThreadPoolExecutor(1) as pool:
        for request in requests:
            places, rows = [place for place, _ in request], [row for _, row in request]
            if first.client is other.client:
                both = _ask(
                    first.client,
                    [*_under(rows, first.domain), *_under(rows, other.domain)],
                    places * 2,
                )
                halves = both.rows[: len(places)], both.rows[len(places) :]
                yield places, Reply(halves[0], both.version), Reply(halves[1], both.version)
            else:
                pending = pool.submit(_ask, other.client, _under(rows, other.domain), places)
                yield (
                    places,
                    _ask(first.client, _under(rows, first.domain), places),
                    pending.result(),
                )


def compare(
    requests: Iterator[list[LoggedRow]],
    first: Side,
    other: Side,
    by: str,
    *,
    movers: int = 10,
    resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """What ``Paired.figures`` says of two sides, and ``versions``: those that answered on each.
    Raises ``InputError``, ``StatusError``.
    """
    paired = Paired(by, movers)
    versions: tuple[set[int], set[int]] = set(), set()
    for places, one, two in replay(requests, first, other):
        paired.add(places, one.rows, two.rows)
        versions[0].add(one.version)
        versions[1].add(two.version)
    return {"versions": [sorted(side) for side in versions], **paired.figures(resamples, seed)}


def text(figures: dict[str, Any]) -> str:
    """The figures for people."""
    versions = " and ".join("/".join(map(str, side)) for side in figures["versions"])
    lines = [
        *wrap(
            f"{figures['requests']:,} requests, {figures['rows']:,} rows, answered by versions"
            f" {versions}"
        ),
        "",
    ]
    table = [["score", "first", "other", "difference", "95% interval", "p95", "max", "same"]]
    for name, score in figures["scores"].items():
        change = score["difference"]
        table.append(
            [
                name,
                *(f"{mean:.6f}" for mean in score["means"]),
                f"{change['mean']:+.6f}",
                "[{:+.6f}, {:+.6f}]".format(*change["ci95"]) if change["ci95"] else "undefined",
                *(f"{change[name]:.6f}" for name in ("p95", "max")),
                f"{change['same']:.1%}",
            ]
        )
    lines += fit(table, right=table[0][1:])
    if order := figures["order"]:
        moved = f"rows move {order['mean_places']:.2f} places, at most {order['most_places']}"
        pairs = f"{order['swapped_pairs']:.2%} of pairs swapped"
        lines += [
            "",
            *wrap(
                f"order by {order['by']}: another row first in {order['another_first']:.1%} of"
                f" requests, {pairs}, {moved}"
            ),
        ]
    lines += [
        f"served by another domain: {figures['other_served_domain']:,} rows",
        "",
        "largest movers (scores, places, served domains):",
    ]
    for mover in figures["movers"]:
        scores = ", ".join(
            f"{name} {one:.6f} -> {two:.6f}" for name, (one, two) in mover["scores"].items()
        )
        ranks, domains = (" -> ".join(map(str, mover[name])) for name in ("ranks", SERVED_DOMAIN))
        lines += wrap(f"  {mover['row']}: {scores}; {ranks}; {domains}")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> None:
    """The command. Raises ``InputError`` for bad input; exits after one line with code 2
    where there is no server, and 1 where a server fails.
    """
    arguments = _arguments(argv)
    with ExitStack() as stack:
        first, other = _sides(arguments, stack)
        requests = replayed_requests(
            arguments.requests,
            first.client,
            arguments.model_name,
            arguments.rows,
            arguments.request_key,
        )
        settings = {
            "movers": arguments.movers,
            "resamples": arguments.resamples,
            "seed": arguments.seed,
        }
        try:
            shown = iter(tracked("replay", requests, "requests"))
            figures = compare(shown, first, other, arguments.by, **settings)
        except StatusError as error:
            end(error)
    sys.stdout.write(json_line(figures) if arguments.json else text(figures))


def _sides(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Side, Side]:
    tls, deadline = tls_of(arguments), arguments.deadline_ms / 1_000
    models = [
        (arguments.target, arguments.model_name, arguments.version),
        (
            arguments.other_target or arguments.target,
            arguments.other_model_name or arguments.model_name,
            arguments.version if arguments.other_version is None else arguments.other_version,
        ),
    ]
    domains = arguments.domain, arguments.other_domain or arguments.domain
    if models[0] == models[1] and domains[0] == domains[1]:
        raise InputError(
            "both sides are the same: name an --other-version, --other-target, --other-model-name"
            " or --other-domain"
        )
    clients = [
        stack.enter_context(
            Client(
                target,
                name,
                version=version,
                deadline_seconds=deadline,
                wait_for_ready=arguments.wait_for_ready,
                tls=tls,
            )
        )
        for target, name, version in dict.fromkeys(models)
    ]
    return Side(clients[0], domains[0]), Side(clients[-1], domains[1])


def _under(rows: Sequence[Row], domain: str | None) -> list[Row]:
    return list(rows) if domain is None else [{**row, DOMAIN: domain} for row in rows]


def _ask(client: Client, rows: Sequence[Row], places: Sequence[str]) -> Reply:
    return client.ask(rows, ignore_unknown=True, place=places.__getitem__)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m serving.compare",
        description="Replay logged requests against two versions, servers or domains.",
    )
    add_server_arguments(parser)
    parser.add_argument(
        "--version",
        type=version_or_label,
        metavar="N",
        help="version, or version label (the newest)",
    )
    parser.add_argument("--domain", help="domain of every row, in place of the row's own")
    parser.add_argument(
        "--other-target",
        type=host_and_port,
        metavar="HOST:PORT",
        help="the other side's; the first's by default, as are:",
    )
    parser.add_argument("--other-model-name", metavar="NAME")
    parser.add_argument("--other-version", type=version_or_label, metavar="N")
    parser.add_argument("--other-domain", metavar="DOMAIN")
    parser.add_argument(
        "--request-key",
        metavar="COLUMN",
        help="neighbouring rows with the same value are one request",
    )
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=200,
        metavar="N",
        help="without it: rows of a request (%(default)s)",
    )
    parser.add_argument(
        "--by",
        default=SCORE,
        metavar="SCORE",
        help="the output that orders a request's rows (%(default)s)",
    )
    parser.add_argument(
        "--movers",
        type=whole_number(0),
        default=10,
        metavar="N",
        help="rows to list that changed most (%(default)s)",
    )
    parser.add_argument(
        "--resamples",
        type=whole_number(1),
        default=1_000,
        metavar="N",
        help="for the intervals (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="of the resamples (%(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on stdout in place of the table"
    )
    return parser.parse_args([with_dashes(word) for word in argv])


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
