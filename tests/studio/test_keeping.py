"""What is entered survives a reload; what one tab makes or deletes shows in the others; a deletion can be undone."""

from collections.abc import Iterator
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import until

GRACE = 10_000
STARTER = {"knows": ["house", "boat"], "notes": "A demonstration model. For a real one: `stylize models pull sdxl`."}


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


@pytest.fixture
def elsewhere(browser: Browser, quiet: Gateway) -> Iterator[Desk]:
    """The studio in another browser."""
    context = browser.new_context()
    yield Desk(context.new_page(), f"http://127.0.0.1:{quiet.port}")
    context.close()


def finished(gateway: Gateway, prompt: str) -> str:
    job = gateway.accepted({"prompt": prompt})["id"]
    gateway.finish(job, encoded(picture(size=(64, 64))))
    return str(job)


def test_the_form_survives_a_reload_with_its_pictures(still: Desk) -> None:
    still.open().drop("#style-drop", STYLE)
    still.method("style-aligned")
    still.prompt("kept words")
    still.page.locator("#seed").fill("77")
    still.page.locator("#strength").fill("0.35")
    still.setting("steps", 11)
    still.page.get_by_text("Knobs of StyleAligned").click()
    still.field("params/shared_score_shift").locator("input").fill("0.5")
    expect(still.page.locator("#maker[data-kept=true]")).to_be_attached()
    still.page.reload()
    expect(still.ready().page.locator("#prompt")).to_have_value("kept words")
    expect(still.page.locator("#style-drop .picked img")).to_have_js_property("naturalWidth", 256)
    expect(still.page.locator("input[name=method]:checked")).to_have_value("style-aligned")
    expect(still.page.locator("#seed")).to_have_value("77")
    expect(still.page.locator("#strength-value")).to_have_text("0.35")
    expect(still.page.locator("#setting-steps")).to_have_value("11")
    expect(still.field("params/shared_score_shift").locator("input")).to_have_value("0.5")


def test_two_tabs_show_the_same(still: Desk, quiet: Gateway) -> None:
    for n in range(6):  # a browser's connections to one host: what is followed must leave some
        quiet.accepted({"prompt": f"waiting {n}"})
    other = Desk(still.page.context.new_page(), still.url).open()
    still.open().drop("#style-drop", STYLE)
    still.prompt("for both")
    still.method("signal-leak")
    still.send()
    job = still.job_of(still.newest())
    expect(other.card(job)).to_be_visible()
    quiet.finish(job, encoded(picture(size=(64, 64))))
    still.card(job).get_by_role("button", name="Delete", exact=True).click()
    expect(still.card(job)).to_have_count(0)
    expect(other.card(job)).to_be_visible()
    still.page.goto("about:blank")
    expect(other.card(job)).to_have_count(0)


def test_a_deleted_picture_can_be_taken_back_for_a_while(still: Desk, quiet: Gateway) -> None:
    job = finished(quiet, "to be deleted")
    still.page.clock.install()
    still.open().card(job).get_by_role("button", name="Delete", exact=True).click()
    expect(still.card(job)).to_have_count(0)
    still.page.locator("#undo").get_by_role("button", name="Undo").click()
    expect(still.card(job).locator(".open img")).to_be_visible()
    still.page.clock.fast_forward(GRACE)
    assert quiet.client.get(f"/jobs/{job}").status_code == 200
    still.card(job).get_by_role("button", name="Delete", exact=True).click()
    still.page.clock.fast_forward(GRACE)
    until(lambda: quiet.client.get(f"/jobs/{job}").status_code == 404, "the job is deleted")
    expect(still.page.locator("#undo")).to_be_hidden()


def test_a_comparison_is_a_table_in_every_browser_and_can_be_saved(
    still: Desk, elsewhere: Desk, quiet: Gateway
) -> None:
    still.open().drop("#style-drop", STYLE)
    still.prompt("a table")
    still.page.get_by_label("Compare several").check()
    still.page.locator("input[name=method]:checked").uncheck()
    for method in ("style-aligned", "signal-leak"):
        still.method(method)
    still.page.locator("#seed").fill(str(2**53 + 1))
    still.page.get_by_label("Seeds").select_option("2")
    expect(still.page.locator("#submit")).to_have_text("Compare 2 methods × 2 seeds")
    still.send()
    group = still.page.locator(".group").first
    expect(group.locator(".card[data-job]")).to_have_count(4)
    (summary, *_) = quiet.client.get("/comparisons").json()["comparisons"]
    assert [cell["seed"] for cell in summary["cells"]] == [2**53 + 1, 2**53 + 2] * 2
    for cell in summary["cells"]:
        quiet.finish(cell["job"], encoded(picture(size=(64, 64))))
    for desk in (still, elsewhere.open()):
        shown = desk.page.locator(".group").first
        expect(shown.locator(".card[data-state=succeeded]")).to_have_count(4)
        assert shown.locator(".row-head").all_text_contents() == ["StyleAligned", "Signal leak"]
        names = [f"seed {2**53 + 1}", f"seed {2**53 + 2}"] * 2
        assert shown.locator(".card-name").all_text_contents() == names
    with still.page.expect_download() as arriving:
        group.get_by_role("button", name="Download all").click()
    with ZipFile(arriving.value.path()) as saved:
        assert sum(name.endswith(".png") for name in saved.namelist()) == 4
    group.get_by_role("button", name="Delete all").click()
    expect(still.page.locator(".group").first.get_by_text("a table")).to_have_count(0)
    still.page.goto("about:blank")
    until(lambda: quiet.client.get(f"/comparisons/{summary['id']}").status_code == 404, "it is deleted")


def test_a_demonstration_model_is_said_to_be_one(still: Desk) -> None:
    def models(route: Route) -> None:
        told = route.fetch().json()
        told["models"][0] |= STARTER
        route.fulfill(json=told)

    still.page.route("**/models", models)
    still.open()
    expect(still.page.locator("#demonstration")).to_contain_text("stylize models pull sdxl")
    still.prompt("a dragon over a city")
    expect(still.page.locator("#prompt-note")).to_contain_text("None of the words that this model knows")
    still.page.locator("#words").get_by_role("button", name="boat").click()
    expect(still.page.locator("#prompt")).to_have_value("a dragon over a city, a boat")
    expect(still.page.locator("#prompt-note")).to_be_empty()
    still.page.locator("#words").get_by_role("button", name="house").click()
    expect(still.page.locator("#prompt")).to_have_value("a dragon over a city, a house")
