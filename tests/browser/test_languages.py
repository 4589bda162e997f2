"""The page in English and Korean: one table of words, a switch, and no text that is not in the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import resilience_dashboard
from playwright.sync_api import Browser, expect
from resilience_dashboard import app

from resilience.core.events import State, Trigger
from resilience.core.reasons import WORDS, verdict
from tests.browser.messages import EVENTS, REFUSALS, OpenPage, resilience
from tests.dashboard.servers import StreamServer, served

pytestmark = pytest.mark.browser

PAGE = Path(resilience_dashboard.__file__).parent / "page"
HANGUL = re.compile("[\uac00-\ud7a3]")


@pytest.fixture(scope="module")
def table(browser: Browser) -> Iterator[dict[str, list[str]]]:
    """The table of words; a text with numbers in it is what it makes of three."""
    with served(app, ["/resilience.stream"]) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base + "/favicon.svg")
        yield page.evaluate(f"""async () => {{
            const {{ TABLE }} = await import('{base}/js/words.js');
            const text = word => typeof word === 'function' ? word(7001, 7002, 7003) : word;
            return Object.fromEntries(Object.entries(TABLE).map(([name, row]) => [name, row.map(text)]));
        }}""")


def numbers(text: str) -> list[str]:
    """What was put into a text."""
    return sorted(set(re.findall(r"700\d", text)))


def test_every_row_has_an_english_and_a_korean_text_with_the_same_numbers(table: dict[str, list[str]]) -> None:
    for name, row in table.items():
        english, korean = row
        assert english, name
        assert not HANGUL.search(english), name
        assert HANGUL.search(korean) or name in ("p90", "p95", "p99", "p995"), name
        assert numbers(english) == numbers(korean), name


def test_the_markup_says_what_the_english_column_says(table: dict[str, list[str]]) -> None:
    html = (PAGE / "index.html").read_text()
    words = re.findall(r'data-word="(\w+)"[^>]*>([^<]*)<', html)
    labels = re.findall(r'aria-label="([^"]*)"[^>]*? data-label="(\w+)"', html)
    assert len(words) > 50
    assert len(labels) == html.count("data-label=") > 8
    for name, text in words:
        assert table[name][0] == text, name
    for text, name in labels:
        assert table[name][0] == text, name


def test_the_modules_ask_for_no_word_that_is_not_in_the_table(table: dict[str, list[str]]) -> None:
    code = "\n".join(path.read_text() for path in (PAGE / "js").glob("*.js"))
    asked = set(re.findall(r'say\("(\w+)"', code))
    assert len(asked) > 30
    assert asked <= table.keys()
    for name in REFUSALS:
        assert name in table
    for state in State:
        assert f"state_{state.value}" in table
    for trigger in Trigger:
        assert f"trigger_{trigger.value}" in table
        assert table[f"trigger_{trigger.value}"][0] == trigger.value.replace("_", " ")


#: What a circuit, a gateway and the dashboard's own server say.
SAID = [
    *WORDS.values(), verdict(Trigger.RESTORED, None), verdict(Trigger.FORCED_OPEN, None), "it was opened by hand",
    *(verdict(trigger, weighed) for trigger in (Trigger.SLOW_RATE, Trigger.FAILURE_RATE, Trigger.CONSECUTIVE,
                                                Trigger.SUSTAINED_FAILURES) for weighed in ((1, 1, 1, 12.3), (20, 11, 9, 95.0))),
    "5 of 8 calls failed, and 1 probe failed since", "20 calls in a row failed, over 95 s, and 12 probes failed since",
    "5 of 8 calls failed, and 2 probes failed since (in 2 of 4 workers)", "2 of 3 gateways see it down",
    "the stream ended", "no answer within 2.5 s", "the stream was silent for 10 s", "cannot connect: Connection refused",
    "the connection broke: Connection reset by peer", "the connection was closed before an answer",
    "the stream's server answered 502",
]


def test_what_servers_say_is_said_in_the_language_of_the_page(browser: Browser) -> None:
    with served(app, ["/resilience.stream"]) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base + "/favicon.svg")
        english, korean, unknown = page.evaluate(f"""async said => {{
            const {{ speak }} = await import('{base}/js/words.js');
            const {{ translated }} = await import('{base}/js/sentences.js');
            const all = language => {{ speak(language); return said.map(translated); }};
            return [all('en'), all('ko'), ['cannot connect: odd', 'a <b> of 5 calls failed', ''].map(translated)];
        }}""", SAID)
    assert SAID == english
    for before, after in zip(SAID, korean, strict=True):
        assert HANGUL.search(after), before
        assert not re.search("[A-Za-z]", after), after
        assert sorted(re.findall(r"[\d.]+", before)) == sorted(re.findall(r"[\d.]+", after))
    assert unknown == ["연결할 수 없음: odd", "a <b> of 5 calls failed", ""]


def test_the_switch_changes_all_words_and_the_choice_is_kept_in_the_address(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [resilience("stock", state="forced_open", state_since_s=30.0, has_fallback=True)]
    page = open_page(stream)
    assert page.evaluate("document.documentElement.lang") == "en"
    page.get_by_label("Sort").select_option("name")
    page.get_by_label("Language").select_option("ko")
    tile = page.locator('[data-command="stock"]')
    expect(tile.locator('[data-field="state"]')).to_have_text("강제 열림")
    expect(tile.locator('[data-field="course"]')).to_have_text("해제할 때까지")
    expect(tile.locator('[data-field="since"]')).to_have_text("30초 전부터")
    expect(page.locator("#show-connection")).to_have_text("실시간")
    expect(page.get_by_label("정렬")).to_have_value("name")
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert "lang=ko" in page.url
    page.reload()
    expect(tile.locator('[data-field="state"]')).to_have_text("강제 열림")
    page.get_by_label("언어").select_option("en")
    expect(tile.locator('[data-field="state"]')).to_have_text("forced open")


@pytest.mark.parametrize(("locale", "expected"), [("ko-KR", "ko"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_page_starts_in_the_language_of_the_browser(
    stream: StreamServer, open_page: OpenPage, locale: str, expected: str
) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream, locale=locale)
    expect(page.locator("#language")).to_have_value(expected)
    assert page.evaluate("document.documentElement.lang") == expected


@pytest.mark.parametrize("locale", ["ko", "en"])
@pytest.mark.parametrize("width", [360, 1250])
def test_no_label_of_a_tile_is_cut_beside_three_digits(
    stream: StreamServer, open_page: OpenPage, width: int, locale: str
) -> None:
    stream.messages = [resilience("stock", rate=100.0, has_fallback=True, counts=dict.fromkeys(EVENTS, 444))]
    page = open_page(stream, locale=locale, viewport={"width": width, "height": 900})
    expect(page.locator('[data-field="throttled"]')).to_have_text("444")
    cut = "labels => labels.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
    assert page.locator(".tile dt").evaluate_all(cut) == []


def test_a_korean_line_breaks_between_words(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream, locale="ko")
    ends = """legend => {
        const text = legend.firstChild, range = document.createRange(), ends = [];
        let line = null;
        for (let i = 0; i < text.length; i++) {
            range.setStart(text, i); range.setEnd(text, i + 1);
            const top = range.getClientRects()[0]?.top;
            if (line !== null && top > line) ends.push(text.data[i - 1]);
            line = top ?? line;
        }
        return ends;
    }"""
    legend = page.locator("[data-word=legend_circle]")
    page.set_viewport_size({"width": 360, "height": 740})
    for size in range(20, 60, 5):  # pixels: how much of the page the words need depends on the fonts of the machine
        legend.evaluate("(legend, size) => { legend.style.fontSize = `${size}px`; }", size)
        found = legend.evaluate(ends)
        assert len(found) > 1
        assert set(found) == {" "}


def test_no_english_word_is_left_on_a_korean_page(stream: StreamServer, open_page: OpenPage) -> None:
    failure: dict[str, Any] = {"type": "1", "message": "2", "ago_s": 1.0, "count": 3}
    change = {"term": 3, "from": "closed", "to": "open", "trigger": "failure_rate", "age_s": 4.0}
    stream.messages = [
        resilience("7", group="8", instance="9", error_rate=1.0, state="open", retry_after_s=0.0, state_since_s=1.0,
                   last_failure=failure, transitions=[change], has_fallback=True, in_flight=20, abandoned=1, refused=200,
                   reason="5 of 8 calls failed, and 2 probes failed since"),
        resilience("7", group="8", instance="10", state="half_open", shadow=["max_concurrent", "rate_limit"]),
    ]  # fmt: skip
    page = open_page(stream, locale="ko", viewport={"width": 360, "height": 740}, is_mobile=True)
    expect(page.locator("[data-command]")).to_be_visible()
    expect(page.locator(".troubled li")).to_have_count(2)
    words = set(re.findall("[A-Za-z]{2,}", page.locator("body").inner_text()))
    assert words <= {"resilience", "English", "ms"}
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("streams", [1, 2])
def test_why_a_stream_is_away_is_said_in_korean(stream: StreamServer, open_page: OpenPage, streams: int) -> None:
    stream.stop()
    page = open_page(*[stream] * streams, locale="ko")
    expect(page.locator("#complaints")).to_contain_text("연결이 거부됨")
    said = page.locator("#complaints").inner_text().replace(stream.url, "")
    assert not re.search("[A-Za-z]", said), said


@pytest.mark.parametrize(("locale", "help_", "word"), [("en", "Help", "half-open"), ("ko", "도움말", "반열림")])
def test_what_the_words_mean_is_told_on_the_page(stream: StreamServer, open_page: OpenPage, locale: str, help_: str, word: str) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream, locale=locale, viewport={"width": 360, "height": 740})
    explained = page.locator("#help dt").get_by_text(word, exact=True)
    expect(explained).to_be_hidden()
    page.get_by_role("button", name=help_).click()
    expect(explained).to_be_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    expect(explained).to_be_hidden()
    page.keyboard.press("?")
    expect(explained).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
