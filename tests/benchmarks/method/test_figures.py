import re
from xml.etree import ElementTree

from benchmarks.method.figures import draw_plot, series_names


def points(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "unit": "points"}


CURVE = {
    "kind": "curve",
    "title": "Gain against width",
    "x_label": "width",
    "y_label": "gain in AUC points",
    "log_x": False,
    "series": [
        {
            "name": "kernels",
            "x": [10, 30, 100],
            "y": [0.1, None, 0.4],
            "low": [0.0, None, 0.3],
            "high": [0.2, None, 0.5],
        },
        {"name": "adapter", "x": [10, 30, 100], "y": [0.2, 0.1, 0.3]},
        {"name": "never run", "x": [10], "y": [None], "low": None, "high": None},
    ],
    "reference": [{"name": "zero-shot", "y": 0.0}, {"name": "no value", "y": None}],
}
FOREST = {
    "kind": "forest",
    "title": "Gain by domain",
    "x_label": "gain in AUC points",
    "groups": [
        {
            "name": "scene=1",
            "points": [
                {"series": "kernels", **points(0.5, 0.1, 0.9)},
                {"series": "adapter", **points(-0.2)},
            ],
        },
        {"name": "region=25", "points": [{"series": "kernels", **points(None)}]},
    ],
}
SCATTER = {
    "kind": "scatter",
    "title": "Gain against parameters",
    "x_label": "parameters",
    "y_label": "gain",
    "log_x": True,
    "points": [
        {"name": "kernels", "x": 1_000.0, "y": 0.5, "low": 0.4, "high": 0.6},
        {"name": "LoRA", "x": 200_000, "y": 0.3, "low": None, "high": None},
        {"name": "unknown cost", "x": None, "y": 0.3, "low": None, "high": None},
    ],
}


def written(svg):
    """The texts of a drawing."""
    drawn = ElementTree.fromstring(svg)  # noqa: S314  our own text
    return ["".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_a_curve_leaves_out_what_is_missing():
    texts = written(draw_plot(CURVE))
    assert {
        "width",
        "gain in AUC points",
        "10",
        "30",
        "100",
        "kernels",
        "adapter",
        "zero-shot",
    } <= set(texts)
    assert not {"never run", "no value"} & set(texts)


def test_a_curve_over_names_and_one_without_values():
    series = [
        {"name": "kernels", "x": ["0", "1-4", "5-50"], "y": [0.1, 0.2, 0.3]},
        {"name": "adapter", "x": ["5-50"], "y": [0.1]},
    ]
    assert written(draw_plot({**CURVE, "series": series}))[:3] == ["0", "1-4", "5-50"]
    assert "nothing measured" in written(
        draw_plot({**CURVE, "series": [CURVE["series"][2]], "reference": []})
    )


def test_a_sweep_from_zero_fits_a_logarithmic_scale():
    series = [{"name": "kernels", "x": [0, 0.001, 0.1, 10], "y": [0.1, 0.2, 0.3, 0.2]}]
    texts = written(draw_plot({**CURVE, "series": series, "log_x": True}))
    assert texts[:4] == ["0", "0.001", "0.1", "10"]


def test_a_forest_has_a_row_for_every_group():
    texts = written(draw_plot(FOREST))
    assert [text for text in texts if text in ("scene=1", "region=25", "undefined")] == [
        "scene=1",
        "region=25",
        "undefined",
    ]
    assert {"kernels", "adapter"} <= set(texts)
    assert {"gain in AUC points"} <= set(written(draw_plot({**FOREST, "groups": []})))


def test_a_scatter_names_what_it_shows():
    texts = written(draw_plot(SCATTER))
    assert {"kernels", "LoRA", "1000", "100k"} <= set(texts)
    assert "unknown cost" not in texts


def test_a_series_keeps_its_colour_in_all_plots():
    known = series_names([FOREST, SCATTER, CURVE])
    assert known == ["kernels", "adapter", "LoRA", "unknown cost", "never run"]
    only = {**CURVE, "series": CURVE["series"][1:2], "reference": []}
    blue, orange = "#0072b2", "#d55e00"
    assert orange in draw_plot(only, known) and blue not in draw_plot(only, known)
    assert blue in draw_plot(only)


def test_fourteen_series_are_told_apart():
    series = [
        {"name": f"method {number}", "x": [1, 2], "y": [number, number]} for number in range(14)
    ]
    line, marker = (
        r'<path d="[^"]+" clip-path="[^"]+" style="([^"]+)"/>',
        r'<path id="[^"]+" d="([^"]+)" style="([^"]+)"',
    )
    styles = re.findall(
        rf"{line}\s*<defs>\s*{marker}", draw_plot({**CURVE, "series": series, "reference": []})
    )
    assert len(styles) == len(set(styles)) == 14


def test_twenty_groups_of_many_series_have_room():
    groups = [
        {
            "name": f"region={row}",
            "points": [{"series": f"method {n}", **points(n / 10)} for n in range(14)],
        }
        for row in range(20)
    ]
    height = float(re.search(r'height="([\d.]+)pt"', draw_plot({**FOREST, "groups": groups}))[1])
    assert height / (20 * 14) > 6  # points of type for each
