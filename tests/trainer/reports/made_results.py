"""A small result of ``evaluate``, as ``reports/metrics.json`` holds it, and as older code wrote
it.
"""

import copy

from trainer.metrics.task_metrics import METRICS

TASKS = ("ctr", "cvr", "ctcvr")


def cell(backbone, delta, ci95):
    return {"backbone": backbone, "kernel": backbone + delta, "delta": delta, "ci95": ci95}


def with_all(figures, delta_all):
    """A comparison with the second reference, which the kernel is ahead of by this much."""
    second = {"delta_all": delta_all, "ci95_all": [delta_all - 0.002, delta_all + 0.002]}
    return figures | {"all": figures["kernel"] - delta_all} | second


UNDEFINED = dict.fromkeys(
    ("backbone", "kernel", "delta", "ci95", "all", "delta_all", "ci95_all"), "undefined"
)
DECISION = {
    "outcome": "activate",
    "reason": "better than all: CTR-AUC higher (p = 0.0004, needed 0.0017)",
    "against": "all",
    "version": 3,
    "active": 3,
}
KEPT = {
    "outcome": "keep",
    "reason": "not better than all: too few positives: 12 of 50 (CTCVR)",
    "against": "all",
    "version": 2,
    "active": None,
}


def task(auc, delta, delta_all=0.001):
    return {
        "auc": with_all(cell(auc, delta, [delta - 0.004, delta + 0.004]), delta_all),
        "gauc": with_all(cell(auc - 0.01, delta, [delta - 0.005, delta + 0.005]), delta_all),
        "log_loss": with_all(cell(0.3121, -0.0123, [-0.02, -0.01]), -delta_all),
        "ne": with_all(cell(0.9512, -0.02, [-0.03, -0.01]), -delta_all),
        "pcoc": with_all(cell(1.0807, -0.07, [-0.08, -0.06]), -delta_all),
    }


def positives(rows):
    return {"ctr": rows // 10, "cvr": rows // 50, "ctcvr": rows // 50}


def segment(rows, ctr, undecided=None):
    """``undecided``: of CTCVR, the outcomes."""
    few = {"ctcvr": undecided} if undecided else {}
    ctcvr = dict.fromkeys(METRICS, UNDEFINED) if undecided else task(0.695, ctr)
    return {
        "rows": rows,
        "positives": positives(rows),
        "undecided": few,
        "ctr": task(0.6301, ctr),
        "cvr": task(0.71, ctr),
        "ctcvr": ctcvr,
    }


def curve(slope):
    """Ten bins whose predictions are ``slope`` times what happened."""
    bins = [
        {"predicted": slope * rate, "observed": rate, "rows": 12_345, "positives": 100}
        for rate in (0.01 * place for place in range(1, 11))
    ]
    return {"ece": abs(slope - 1.0) * 0.055, "bins": bins}


def domain(rows, active, ctr, ctcvr, delta_all=0.001):
    decision = dict(DECISION if active else KEPT)
    return {
        "rows": rows,
        "active": active,
        "served_domain": "all",  # not so where it is active, which nothing that is shown looks at
        "version": decision["version"],
        "decision": decision,
        "seen": [],
        "positives": positives(rows),
        "undecided": {},
        "ctr": task(0.6301, ctr, delta_all),
        "cvr": task(0.71, ctr, delta_all),
        "ctcvr": task(0.695, ctcvr, delta_all),
    }


def make_result():
    nothing = {name: dict.fromkeys(METRICS, UNDEFINED) for name in TASKS}
    few = {name: {"positives": 0, "negatives": 0} for name in TASKS}
    domains = {
        "all": domain(123_456, True, 0.0311, 0.028, 0.0),
        "region=25": domain(45_678, True, 0.02, 0.03),
        "region=9": domain(5_000, False, -0.0044, 0.01, -0.0123),
        "period=noon": domain(0, False, 0.0, 0.0)
        | {"version": None, "decision": None, "undecided": few}
        | nothing,
        "region=25,period=noon": domain(900, True, 0.05, 0.05),
    }
    overall = {
        name: {
            metric: {side: values[side] for side in ("backbone", "kernel", "all")}
            for metric, values in task(0.6301, 0.0311).items()
        }
        for name in TASKS
    }
    mean = {"delta": 0.0078, "ci95": [0.0051, 0.0102], "domains": 2, "off": 1}
    mean |= {"delta_all": 0.0031, "ci95_all": [-0.0012, 0.0074], "undecided": 1}
    return {
        "split": "test",
        "overall": overall,
        "domains": domains,
        "oracle": {
            "ctr": dict.fromkeys(METRICS, 0.7654),
            "cvr": dict.fromkeys(METRICS, "undefined"),
            "ctcvr": dict.fromkeys(METRICS, "undefined"),
        },
        "mean": {name: {metric: dict(mean) for metric in METRICS} for name in TASKS},
        "config": "c0ffee" + 58 * "0",
        "backbone_seen": [],
        "ranking": ["ctr", "ctcvr"],
        "page": None,
        "rows": 123_456,
        "positives": positives(123_456),
        "undecided": {},
        "segments": {
            "city": {
                "S\u00e3o Paulo": segment(120_000, 0.031),
                "missing": segment(3_456, 0.02, {"positives": 4, "negatives": 3_452}),
            }
        },
        "calibration": {name: {"backbone": curve(1.2), "kernel": curve(1.0)} for name in TASKS},
        "order_agreement": {},
    }


def make_older_result():
    """The same as code wrote it that knew one reference and no decisions."""
    result = copy.deepcopy(make_result())
    for key in ("config", "backbone_seen", "ranking", "page", "rows", "positives", "undecided"):
        del result[key]
    for key in ("segments", "calibration", "order_agreement"):
        del result[key]
    for means in result["mean"].values():
        for mean in means.values():
            del mean["undecided"]
    for of_domain in result["domains"].values():
        for key in ("served_domain", "version", "decision", "seen", "positives", "undecided"):
            del of_domain[key]
    tasks = [result["overall"], result["mean"], *result["domains"].values()]
    for of_tasks in tasks:
        for name in TASKS:
            of_tasks[name] = {
                metric: {
                    key: value
                    for key, value in figures.items()
                    if key not in ("all", "delta_all", "ci95_all")
                }
                for metric, figures in of_tasks[name].items()
            }
    return result
