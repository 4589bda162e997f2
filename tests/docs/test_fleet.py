"""The page about fleets holds the figures that are kept beside it, and these can be written anew and drawn."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import fleet
import pytest
from pages import ROOT

from tests.simulations.figures import SECTIONS

SVG = "{http://www.w3.org/2000/svg}"


def kept():
    return json.loads(fleet.KEPT_FIGURES.read_text(encoding="utf-8"))


def test_the_page_holds_what_is_written_from_the_figures_beside_it():
    page = fleet.PAGE.read_text(encoding="utf-8")
    assert fleet.with_tables(page, kept()) == page
    assert [*SECTIONS] == [*fleet.SECTIONS]
    for section in SECTIONS:
        assert 1 == page.count(fleet.marks(section)[0]), section
        for name in kept()[section]["rows"]:
            assert f"\n| {name} |" in page
    assert str(ROOT) not in json.dumps(kept())


def test_figures_are_written_into_the_page_and_drawn(tmp_path, monkeypatch):
    page, beside, made = tmp_path / "page.md", tmp_path / "figures.json", tmp_path / "fleet.json"
    page.write_text("".join(f"{begin}\nfrom before\n{end}\n" for begin, end in map(fleet.marks, fleet.SECTIONS)), encoding="utf-8")
    made.write_text(json.dumps(kept()), encoding="utf-8")
    monkeypatch.setattr(fleet, "PAGE", page)
    monkeypatch.setattr(fleet, "KEPT_FIGURES", beside)
    assert 0 == fleet.main([str(made)])
    assert "from before" not in page.read_text(encoding="utf-8")
    assert kept() == json.loads(beside.read_text(encoding="utf-8"))
    for section in ("storm", "outage", "zone"):
        assert {f"fleet-{section}", f"fleet-{section}-whole"} <= fleet.drawings().keys()
    for name, drawing in fleet.drawings().items():
        root = ElementTree.fromstring(drawing)
        assert [*root.iter(f"{SVG}polyline")], name
        for line in root.iter(f"{SVG}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= 860
                assert 0 <= y


def test_figures_that_are_not_whole_are_refused(tmp_path):
    some = tmp_path / "fleet.json"
    some.write_text(json.dumps({"storm": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="make simulate"):
        fleet.main([str(some)])
