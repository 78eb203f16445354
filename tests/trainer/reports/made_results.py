"""A small result of ``evaluate``, as ``reports/metrics.json`` holds it."""

from trainer.metrics.task_metrics import METRICS


def cell(backbone, delta, ci95):
    return {"backbone": backbone, "kernel": backbone + delta, "delta": delta, "ci95": ci95}


UNDEFINED = {
    "backbone": "undefined",
    "kernel": "undefined",
    "delta": "undefined",
    "ci95": "undefined",
}


def task(auc, delta):
    return {
        "auc": cell(auc, delta, [delta - 0.004, delta + 0.004]),
        "gauc": cell(auc - 0.01, delta, [delta - 0.005, delta + 0.005]),
        "log_loss": cell(0.3121, -0.0123, [-0.02, -0.01]),
        "ne": cell(0.9512, -0.02, [-0.03, -0.01]),
        "pcoc": cell(1.0807, -0.07, [-0.08, -0.06]),
    }


def domain(rows, active, ctr, ctcvr):
    return {
        "rows": rows,
        "active": active,
        "ctr": task(0.6301, ctr),
        "cvr": task(0.71, ctr),
        "ctcvr": task(0.695, ctcvr),
    }


def make_result():
    domains = {
        "all": domain(123_456, True, 0.0311, 0.028),
        "region=25": domain(45_678, True, 0.02, 0.03),
        "region=9": domain(5_000, False, -0.0044, 0.01),
        "period=noon": {
            "rows": 0,
            "active": False,
            **{name: dict.fromkeys(task(0.5, 0), UNDEFINED) for name in ("ctr", "cvr", "ctcvr")},
        },
        "region=25,period=noon": domain(900, True, 0.05, 0.05),
    }
    overall = {
        name: {
            metric: {side: values[side] for side in ("backbone", "kernel")}
            for metric, values in task(0.6301, 0.0311).items()
        }
        for name in ("ctr", "cvr", "ctcvr")
    }
    return {
        "split": "test",
        "overall": overall,
        "domains": domains,
        "oracle": {
            "ctr": dict.fromkeys(METRICS, 0.7654),
            "cvr": dict.fromkeys(METRICS, "undefined"),
            "ctcvr": dict.fromkeys(METRICS, "undefined"),
        },
        "mean": {
            name: {
                metric: {"delta": 0.0078, "ci95": [0.0051, 0.0102], "domains": 2, "off": 1}
                for metric in METRICS
            }
            for name in ("ctr", "cvr", "ctcvr")
        },
    }
