"""What ``explain`` finds as plain text, and the texts that the page shows, too. Losses of AUC are
shown in points, that is x 100.
"""

import textwrap
from collections.abc import Sequence

from configs.prediction.score import SCORE
from configs.terminal.plain_text import fit_page, wrap_page
from trainer.metrics.decidable import in_words
from trainer.metrics.explanation_results import (
    ExplainedRow,
    GateUse,
    Importance,
    Loss,
    RequestExplanation,
    SliceImportance,
)
from trainer.metrics.formatting import POINTS
from trainer.metrics.results import Pair
from trainer.reports.text_table import show_difference, show_name, show_pair

_INDENT = "  "
_MOST_INPUTS = 3
"""That are named of each domain."""
_MOST_EFFECTS = 8
"""That are shown of each row of a request."""
_LONGEST_VALUE = 24
_EVERY = "all rows"


def render_importance(result: Importance) -> str:
    """The tables that ``explain`` prints: of all rows every input, of each domain the inputs that
    matter most, and the use of experts.
    """
    lines = wrap_page(describe_rows(result))
    for task in result.ranking:
        lines += ["", *_of_task(result, task)]
    for caution in cautions(result):
        lines += ["", *wrap_page(caution)]
    lines += [
        "",
        *wrap_page(f"by domain, as rows are served: {_MOST_INPUTS} inputs that lose most"),
    ]
    lines += [line for name, found in result.domains.items() for line in _domain(name, found)]
    lines += ["", *wrap_page(describe_experts(result))]
    for name, gate in (result.experts or {}).items():
        lines += ["", f"{show_name(name)}:", *fit_page(gate_cells(gate))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_request(found: RequestExplanation) -> str:
    """Of every row what is predicted, and the inputs that move its score most."""
    where = f"request '{found.request}' of split '{found.split}'" if found.request else "rows"
    lines = wrap_page(
        f"{show_name(where)}: {len(found.rows)}; predictions of the backbone -> as served (auto),"
        " and how far each input moves them: what is predicted less what is predicted where the"
        " input is missing"
    )
    for row in found.rows:
        lines += ["", *_row(row)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def describe_rows(result: Importance) -> str:
    """What was taken, and what was done with it, in a sentence."""
    whole = f" (whole {result.drawn_by}, drawn by chance)" if result.drawn_by else ""
    several = result.permutations > 1
    times = f"mean of {result.permutations} permutations" if several else "once"
    drawn = "users and permutations" if several else "users"
    return (
        f"split '{result.split}': {result.rows:,} of {result.of_rows:,} rows{whole} of"
        f" {result.users:,} users; AUC points lost when an input's values are permuted among them"
        f" ({times}), with 95% intervals from resampled {drawn}"
    )


def describe_experts(result: Importance) -> str:
    """What the tables of experts show, or that there are none."""
    if result.experts is None:
        return f"experts: the body '{result.body}' has no gates"
    return f"experts of the body '{result.body}': mean weights of each gate, which add up to 1"


def cautions(result: Importance) -> list[str]:
    """Where losses are to be read with care, a sentence each."""
    said = []
    for name, about in result.inputs.items():
        if about.read and about.shares:
            said.append(
                f"{name} is made of a raw column that {', '.join(about.shares)} also"
                f" {'has' if len(about.shares) == 1 else 'have'}, and not permuted with it"
            )
    told: dict[str, list[str]] = {}
    for one in result.dependent:
        told.setdefault(one.by, []).append(f"{one.input} ({one.share:.0%})")
    said += [f"{by} tells {', '.join(inputs)}" for by, inputs in told.items()]
    if not said:
        return []
    return [
        "caution: what one input loses may be said by another, so that both lose less than they"
        f" are worth together: {'; '.join(said)}"
    ]


def show_loss(loss: Loss) -> str:
    """``+3.11 [+2.80, +3.40]`` in points."""
    return show_difference(loss.lost, loss.ci95)


def show_points(loss: Loss) -> str:
    """``+3.11``, or ``undefined``."""
    return loss.lost if isinstance(loss.lost, str) else f"{loss.lost * POINTS:+.2f}"


def gate_cells(gate: GateUse) -> list[list[str]]:
    """Titles, and the mean weights of all rows and of each domain."""
    rows = [["", *gate.experts], [_EVERY, *_weights(gate.overall)]]
    for name, weights in gate.domains.items():
        shown = ["-" for _ in gate.experts] if weights is None else _weights(weights)
        rows.append([show_name(name), *shown])
    return rows


def _of_task(result: Importance, task: str) -> list[str]:
    few = result.overall.undecided.get(task)
    if few:
        return [f"{task.upper()}-AUC: {in_words(few)}"]
    pair = show_pair(result.overall.auc[task])
    rows = [["input", "backbone", "auto"]]
    for name in result.by_loss(task):
        cell = result.overall.lost[task][name]
        shown = [show_loss(cell.backbone), show_loss(cell.kernel)]
        unread = ["not read when served", ""]
        rows.append([name, *(shown if result.inputs[name].read else unread)])
    return [f"{task.upper()}-AUC: {pair} (backbone -> auto)", *fit_page(rows)]


def _domain(name: str, found: SliceImportance) -> list[str]:
    lines = wrap_page(show_name(f"{name}: {found.rows:,} rows"), _INDENT)
    for task, cells in found.lost.items():
        lost = {one: cell.kernel.lost for one, cell in cells.items()}
        known = {one: value for one, value in lost.items() if not isinstance(value, str)}
        most = sorted(known, key=lambda one: -known[one])[:_MOST_INPUTS]
        shown = ", ".join(f"{one} {show_points(cells[one].kernel)}" for one in most) or "undefined"
        pair = show_pair(found.auc[task])
        lines += _indented(f"{task.upper()} {pair}: {shown}")
    for task, outcomes in found.undecided.items():
        lines += _indented(f"{task.upper()}: {in_words(outcomes)}")
    return lines


def _row(row: ExplainedRow) -> list[str]:
    outputs = [name for name in row.outputs if name != SCORE] + [SCORE]
    predicted = ", ".join(f"{name} {_pair(row.outputs[name], '')}" for name in outputs)
    table = [["", "value", *outputs]]
    present = [one for one in row.inputs if not one.missing]
    for one in present[:_MOST_EFFECTS]:
        moved = [_pair(one.effects[name], "+") for name in outputs]
        table.append([_INDENT + one.input, _short(one.value), *moved])
    lines = wrap_page(f"row {row.row} ({show_name(row.served_domain)}): {predicted}", _INDENT)
    lines += fit_page(table)
    missing = [one.input for one in row.inputs if one.missing]
    more = len(present) - _MOST_EFFECTS
    lines += _indented(f"and {more} that move it less (--json has all)") if more > 0 else []
    return lines + (_indented(f"missing: {', '.join(missing)}") if missing else [])


def _pair(pair: Pair, sign: str) -> str:
    return f"{pair.backbone:{sign}.4f} -> {pair.kernel:{sign}.4f}"


def _short(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return textwrap.shorten(show_name(str(value)), _LONGEST_VALUE, placeholder=" ...")


def _weights(weights: Sequence[float]) -> list[str]:
    return [f"{weight:.3f}" for weight in weights]


def _indented(text: str) -> list[str]:
    return wrap_page(_INDENT * 2 + text, _INDENT * 3)
