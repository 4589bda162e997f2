"""On a phone, in the dark, with a thousand commands, and from nowhere but its own origin."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.messages import Message, OpenPage, hystrix, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

FAILURE = {"type": "some.package.ConnectTimeout", "message": "no answer " * 12, "ago_s": 4.2, "count": 41}
LONG = "com.example.platform.services.payments.eu-west.charge_the_customers_card_by_token"
MESSAGES = [
    resilience("full", counts={"semaphore_rejected": 100}, in_flight=20, state_since_s=90000.0),
    resilience("forced", state="forced_open", forced=True, state_since_s=27.0, reason="an operator forced it open"),
    resilience("waiting", state="open", retry_after_s=0.0, state_since_s=7300.0, last_failure=FAILURE, rate=0.0),
    resilience(LONG, instance="web-1.eu-west.example.internal:17", error_rate=1.0, last_failure=FAILURE, in_flight=20),
    resilience(LONG, instance="web-2.eu-west.example.internal:18", state="half_open", state_since_s=2.0),
    resilience(LONG, instance="i" * 200, state="open", retry_after_s=3.0, opened_ago_s=60.0, has_fallback=True),
    resilience("failing-slowly", error_rate=0.15, last_failure=FAILURE, in_flight=17),
    resilience("inventory.stock", rate=123456.0, counts={"success": 999999, "short_circuited": 123456}, state="open"),
    resilience("payments.charge_the_customers_card_now", error_rate=0.2, latency=12.0, retry_after_s=2.0),
    resilience("shipping", error_rate=0.05, state="half_open"),
    resilience("tax", counts={"failure": 3, "timeout": 4, "semaphore_rejected": 2, "bad_request": 1}),
    resilience("off", state="disabled", max_concurrent=None, abandoned=3),
    hystrix("CreditCard", hosts=3, isCircuitBreakerOpen={"true": 1, "false": 2}),
]
#: How long the slowest machine may take to show a thousand tiles; nothing is measured by it.
PATIENCE_MS = 120_000
TILES = len({message.get("key") or message["name"] for message in MESSAGES})

#: Notes from now on which values of which commands are written anew, and how many tiles are hidden, shown or moved.
WATCH_WRITES = """() => {
    Object.assign(window, { written: new Set(), hidden: 0, moved: 0 });
    const board = document.getElementById('board');
    new MutationObserver(records => records.forEach(({ target, type, attributeName }) => {
        const element = target.nodeType === 1 ? target : target.parentElement;
        if (target === board) window.moved += 1;
        else if (attributeName === 'hidden' && element.matches('[data-command]')) window.hidden += 1;
        else if (type !== 'attributes' && element?.closest('[data-field]'))
            window.written.add(`${element.closest('[data-command]').dataset.command} ${element.closest('[data-field]').dataset.field}`);
    })).observe(board, { subtree: true, childList: true, characterData: true, attributes: true });
}"""

CONTRASTS = """() => {
    const parse = text => {
        const numbers = text.match(/[\\d.]+/g).map(Number);
        const scale = text.startsWith('color(') ? 255 : 1;
        return { rgb: numbers.slice(0, 3).map(n => n * scale), alpha: numbers.length > 3 ? numbers[3] : 1 };
    };
    const over = (top, below) => top.rgb.map((c, i) => c * top.alpha + below[i] * (1 - top.alpha));
    const ground = element => {
        if (element === null) return [255, 255, 255];
        const colour = parse(getComputedStyle(element).backgroundColor);
        return colour.alpha === 1 ? colour.rgb : over(colour, ground(element.parentElement));
    };
    const opacity = element => element === null ? 1 : Number(getComputedStyle(element).opacity) * opacity(element.parentElement);
    const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim() !== '');
        if (!own || !element.checkVisibility() || element.closest('.unseen')) continue;
        const below = ground(element);
        const colour = parse(getComputedStyle(element).color);
        const [a, b] = [light(over({ ...colour, alpha: colour.alpha * opacity(element) }, below)), light(below)];
        found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.className || element.tagName,
            element.textContent.slice(0, 40)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(stream: StreamServer, open_page: OpenPage, scheme: str) -> None:
    stream.messages = list(MESSAGES)
    page = open_page(stream, color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator("[data-command]")).to_have_count(TILES)
    expect(page.locator("#show-connection")).to_have_text("Live")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ("rgb(13, 18, 24)" if scheme == "dark" else "rgb(238, 241, 243)") == ground
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [] == [faint for faint in contrasts if faint[0] < 4.5]
    stream.stop()
    expect(page.locator('[data-command][data-stale="true"]')).to_have_count(TILES)
    assert [] == [faint for faint in page.evaluate(CONTRASTS) if faint[0] < 4.5]


def test_a_choice_that_is_made_stands_out_where_the_reader_chooses_the_colours(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream, forced_colors="active", reduced_motion="reduce")
    for each in ("#chip-open", "#reverse"):
        looks = "button => [getComputedStyle(button).backgroundColor, getComputedStyle(button).color]"
        before = page.locator(each).evaluate(looks)
        page.locator(each).click()
        expect(page.locator(each)).to_have_attribute("aria-pressed", "true")
        assert not set(before) & {page.locator(each).evaluate(looks)[0]}


def test_a_long_name_is_told_whole_to_who_cannot_see_it(stream: StreamServer, open_page: OpenPage) -> None:
    name = "very.long.module.name.of.a.shop.payments.charge"
    stream.messages = [resilience(name)]
    page = open_page(stream)
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("article", name=name, exact=True)).to_be_visible()


def test_a_phone_scrolls_in_one_direction_only(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [*MESSAGES, resilience("n" * 500)]
    page = open_page(stream, viewport={"width": 360, "height": 740}, is_mobile=True, device_scale_factor=2)
    expect(page.locator("[data-command]")).to_have_count(TILES + 1)
    overflowing = """() => [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
        && !e.closest('.unseen, .sprite, .name, .group, .troubled bdi') && e.getBoundingClientRect().right > 360.5)
        .map(e => e.outerHTML.slice(0, 120))"""
    assert [] == page.evaluate(overflowing)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    stream.stop()
    expect(page.locator("#banner")).to_be_visible()
    assert [] == page.evaluate(overflowing)


def test_the_language_can_be_read_on_the_smallest_screen(stream: StreamServer, open_page: OpenPage) -> None:
    page = open_page(stream, viewport={"width": 320, "height": 640})
    room = """e => { const style = getComputedStyle(e), pen = document.createElement('canvas').getContext('2d');
        pen.font = `${style.fontSize} ${style.fontFamily}`;
        return e.clientWidth - parseFloat(style.paddingLeft) - pen.measureText(e.selectedOptions[0].text).width; }"""
    expect(page.get_by_label("Language").locator("option")).to_have_count(2)
    assert page.get_by_label("Language").evaluate(room) > 30  # for the arrow, and what is around it


def test_on_paper_a_tile_is_not_torn_and_its_colours_are_there(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = list(MESSAGES)
    page = open_page(stream, color_scheme="dark")
    expect(page.locator("[data-command]")).to_have_count(TILES)
    page.emulate_media(media="print")
    styles = """() => [...new Set([...document.querySelectorAll('[data-command]')].map(getComputedStyle)
        .map(style => `${style.breakInside} ${style.printColorAdjust} ${style.contentVisibility}`))]"""
    assert ["avoid exact visible"] == page.evaluate(styles)
    assert "rgb(238, 241, 243)" == page.evaluate("getComputedStyle(document.body).backgroundColor"), "paper is light"
    assert page.locator("#chip-open").is_visible()
    for control in ("#filter", "#sort", "#reverse", "#density", "#show-help", "#language"):
        assert not page.locator(control).is_visible()


def test_nothing_is_loaded_from_another_host(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = list(MESSAGES)
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(TILES)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.reload()
    expect(page.locator("[data-command]")).to_have_count(TILES)
    origin = page.url.split("#")[0]
    assert len(requested) > 10
    assert [] == [url for url in requested if not url.startswith(origin)]


def test_a_thousand_commands_stay_usable(stream: StreamServer, open_page: OpenPage) -> None:
    """The page writes no more than what has changed. Counted, not timed: how long a frame takes is the machine's."""

    def commands(**changed: float) -> list[Message]:
        return [resilience(f"command-{n:04}", rate=float(n), error_rate=changed.get(f"command_{n:04}", 0.0))
                for n in range(1000)]

    stream.interval = 1.0
    stream.messages = commands()
    page = open_page(stream, settings={"stale_after": 600.0, "forget_after": 1200.0, "sort_every": 600.0})
    shown = page.locator("[data-command]:not([hidden])")
    expect(shown).to_have_count(1000, timeout=PATIENCE_MS)
    page.get_by_label("Sort").select_option("volume")  # the largest numbers are those on screen
    expect(page.locator('[data-command="command-0999"] [data-field="rate"]')).to_have_text("999", timeout=PATIENCE_MS)
    page.evaluate(WATCH_WRITES)

    failures = page.locator('[data-command="command-0998"] [data-field="failure"]')
    for share, text in ((1.0, "9980"), (0.0, "0")):  # with each of these all the others come again, too
        stream.messages = commands(command_0998=share)
        expect(failures).to_have_text(text, timeout=PATIENCE_MS)
    written = page.evaluate("[...window.written]")
    assert "command-0998 failure" in written
    assert [] == [each for each in written if not each.startswith("command-0998 ")]

    search = page.get_by_label("Filter by name or group")
    for wanted, count in (("command-0998", 1), ("", 1000)):
        page.evaluate("window.hidden = window.moved = 0")
        search.fill(wanted)
        expect(shown).to_have_count(count, timeout=PATIENCE_MS)
    assert [999, 0] == page.evaluate("[window.hidden, window.moved]")


def test_the_compact_view_hides_the_details(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream)
    success = page.locator('[data-field="success"]')
    expect(success).to_be_visible()
    page.get_by_role("button", name="Compact").click()
    expect(success).to_be_hidden()
    expect(page.locator('[data-field="error_rate"]')).to_be_visible()


def test_every_control_has_a_name_and_every_tile_a_heading(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = list(MESSAGES)
    page = open_page(stream)
    expect(page.get_by_role("article")).to_have_count(TILES)
    expect(page.get_by_role("article", name="inventory.stock")).to_be_visible()
    expect(page.get_by_role("heading", name="inventory.stock")).to_be_visible()
    for role in ("button", "searchbox", "combobox"):
        for control in page.get_by_role(role).all():  # type: ignore[arg-type]
            assert control.evaluate("e => e.ariaLabel || e.textContent.trim() || e.labels?.length > 0")
