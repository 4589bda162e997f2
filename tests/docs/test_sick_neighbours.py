"""The page about sick neighbours holds the figures that are kept beside it, and these can be written anew."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import sick_neighbours
from pages import ROOT

from tests.benchmarks import sick
from tests.benchmarks.report import Section, Table, environment, write_json
from tests.benchmarks.sick_upstream import KINDS

SVG = "{http://www.w3.org/2000/svg}"


def a_run(tmp_path, proxies=("ours", "envoy")):
    """What make bench writes, read again."""
    half = [(kind, proxy, 99.5, 100.0, 2.4, 2.0, 1.2, 97.25, 1.1, "504 100%; 0% within 100 ms")
            for kind in KINDS for proxy in proxies]
    well = [(sick.WELL, proxy, *(None,) * 5, 94.0, 1.0, None) for proxy in proxies]
    added = [(proxy, 4500, 0.5, 0.2, 1.1, 0.4, 0.7) for proxy in proxies]
    sections = [
        Section(name="sick", tables=[Table(title="beside", columns=sick.COLUMNS, rows=[*well, *half])], notes=["envoy 1.2.3"]),
        Section(name="half_load", tables=[Table(title="half", columns=("", "a", "b", "c", "d", "e", "f"), rows=added)]),
    ]
    write_json(tmp_path / "bench.json", sections, environment())
    return json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))


def test_the_page_holds_what_is_written_from_the_figures_beside_it():
    page = sick_neighbours.PAGE.read_text(encoding="utf-8")
    kept = json.loads(sick_neighbours.KEPT_FIGURES.read_text(encoding="utf-8"))
    assert sick_neighbours.with_tables(page, kept) == page
    assert {kind for kind, _ in sick_neighbours._by_kind_and_proxy(kept["sick"])} == {sick.WELL, *KINDS}
    assert str(ROOT) not in json.dumps(kept)


def test_figures_of_a_run_are_written_into_the_page_and_drawn(tmp_path, monkeypatch):
    page, beside = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(f"before\n{sick_neighbours.BEGIN}\nold\n{sick_neighbours.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(sick_neighbours, "PAGE", page)
    monkeypatch.setattr(sick_neighbours, "KEPT_FIGURES", beside)
    a_run(tmp_path)
    assert sick_neighbours.main([str(tmp_path / "bench.json")]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| never answers | 99.5 %, 2.00 ms → 2.40 ms | 99.5 %, 2.00 ms → 2.40 ms |" in text
    assert "| is well | 94.0 % | 94.0 % |" in text
    assert "| Envoy | 4,500 | 0.20 ms → 0.50 ms | 0.40 ms → 1.10 ms | 0.70 ms |" in text
    drawing = ElementTree.fromstring(sick_neighbours.drawing())
    bars = [each for each in drawing.iter(f"{SVG}rect") if each.find(f"{SVG}title") is not None]
    assert len(bars) == 2 * (2 * len(KINDS) + len(KINDS) + 1)  # kept, p99, and kept at full load, well ones too


def test_a_proxy_that_did_not_answer_or_was_not_there_does_not_stop_the_page(tmp_path):
    bench = a_run(tmp_path, proxies=("ours",))
    rows = bench["sections"]["sick"]["tables"][0]["rows"]
    rows[-1][4:7] = [float("inf"), 2.0, float("inf")]
    kept = sick_neighbours.figures(bench)
    assert "2.00 ms → no answer" in sick_neighbours.tables(kept)
    assert "nginx |" not in sick_neighbours.tables(kept)
    ElementTree.fromstring(sick_neighbours.plot(kept))
    del bench["sections"]["sick"]
    with pytest.raises(ValueError, match="make bench"):
        sick_neighbours.figures(bench)


def test_every_kind_of_sickness_has_words_on_the_page():
    assert set(sick_neighbours.KINDS) == {sick.WELL, *KINDS}
