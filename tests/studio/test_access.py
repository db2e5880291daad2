"""Everybody can use it: assistive technology, a keyboard alone, a small screen, either theme."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture

GRAVE = ("serious", "critical")


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


@pytest.fixture
def done(quiet: Gateway) -> str:
    """The id of a finished job."""
    job = quiet.accepted({"prompt": "a house by a lake"})
    return quiet.finish(job["id"], encoded(picture(size=(64, 64)))).id


def violations(page: Page) -> list[str]:
    """Return what axe-core finds serious, in words."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in GRAVE
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(still: Desk, done: str, theme: str) -> None:
    still.page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    still.open()
    still.drop("#style-drop", STYLE)
    still.drop("#style-drop", STYLE)
    still.method("style-id")
    for fold in still.page.locator("details:not([hidden]) > summary").all():
        fold.click()
    assert violations(still.page) == [], "the form and the wall"
    still.send()
    expect(still.page.locator("#refusal")).to_be_visible()
    assert violations(still.page) == [], "refused"
    still.card(done).locator(".open").click()
    for way in ("Picture", "Side by side", "Slider"):
        still.page.locator("#viewer").get_by_role("radio", name=way, exact=True).check()
        assert violations(still.page) == [], way


FOCUS_ONCE_SHOWN = """new MutationObserver(() => {
    const oil = document.querySelector("#style-shelf [title=Oil]");
    if ("loading" in document.body.dataset || !oil) return;
    oil.focus();
    window.taken = document.activeElement.title;
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-loading"] });"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_what_is_shown_takes_the_focus_at_once(still: Desk, motion: str) -> None:
    still.page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]
    still.page.add_init_script(FOCUS_ONCE_SHOWN)
    still.open()
    assert still.page.evaluate("window.taken") == "Oil"
    expect(still.page.locator("#style-shelf").get_by_title("Oil")).to_be_focused()


def test_what_arrives_late_does_not_take_the_focus(still: Desk) -> None:
    waiting: list[Route] = []
    still.page.route("**/styles?*", lambda route: waiting.append(route))
    with still.page.expect_request("**/styles?*"):
        still.page.goto(still.url)
    oil = still.page.locator("#style-shelf").get_by_title("Oil")
    oil.focus()
    with still.page.expect_response("**/styles?*"):
        waiting.pop().continue_()
    expect(still.ready().page.locator("#style-shelf").get_by_title("Oil")).to_be_focused()


def test_a_keyboard_is_enough(still: Desk, quiet: Gateway, done: str) -> None:
    expect(still.open().page.locator("#style-shelf")).to_have_attribute("aria-busy", "false")
    keyboard = still.page.keyboard
    keyboard.press("Tab")
    expect(still.page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    oil = still.page.locator("#style-shelf").get_by_title("Oil")
    oil.focus()
    keyboard.press("Enter")
    expect(oil).to_have_attribute("aria-pressed", "true")
    expect(oil).to_be_focused()
    keyboard.press("Tab")
    still.page.locator("#prompt").focus()
    keyboard.type("a cup")
    still.page.locator("input[name=method]:checked").focus()
    keyboard.press("ArrowDown")
    chosen = still.page.locator("input[name=method]:checked").get_attribute("value")
    keyboard.press("Control+Enter")
    still.await_sent()
    job = still.job_of(still.newest())
    asked = quiet.client.get(f"/jobs/{job}").json()
    assert (asked["recipe"]["prompt"], asked["method"]) == ("a cup", chosen)
    opener = still.card(done).locator(".open")
    opener.focus()
    keyboard.press("Enter")
    expect(still.page.locator("#viewer")).to_be_visible()
    keyboard.press("Escape")
    expect(still.page.locator("#viewer")).to_be_hidden()
    expect(opener).to_be_focused()
    assert "#job" not in still.page.url


@pytest.mark.parametrize("width", [375, 768, 1440])
def test_nothing_sticks_out(still: Desk, done: str, width: int) -> None:
    still.page.set_viewport_size({"width": width, "height": 812})
    still.open()
    expect(still.card(done)).to_be_attached()
    expect(still.page.get_by_role("link", name="Pictures", exact=True)).to_be_visible(visible=width < 900)
    assert still.page.evaluate("document.documentElement.scrollWidth") <= width
    still.card(done).locator(".open").click()
    expect(still.page.locator("#viewer")).to_be_visible()
    assert still.page.locator("#viewer").evaluate("node => node.scrollWidth") <= width


def test_it_works_where_motion_is_reduced_and_colours_are_forced(still: Desk, done: str) -> None:
    still.page.emulate_media(forced_colors="active")
    still.open()
    still.method("signal-leak")
    chosen = still.page.locator(".method:has(input:checked)")
    assert chosen.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    expect(still.card(done).locator(".card-state")).to_contain_text("Done")


def test_a_thumbnail_that_is_pressed_keeps_the_focus(still: Desk, quiet: Gateway) -> None:
    files = [("style_image", (f"{n}.png", encoded(picture(seed=n)), "image/png")) for n in (31, 32)]
    job = quiet.accepted({"prompt": "a boat", "method": "ip-adapter"}, files=files)
    quiet.finish(job["id"], encoded(picture(size=(64, 64))))
    still.open().card(job["id"]).locator(".open").click()
    second = still.page.locator("#viewer .strip").get_by_role("button", name="Reference 2")
    second.focus()
    still.page.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(second).to_be_focused()
