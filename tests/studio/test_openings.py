"""The form and the wall open whatever else is wrong, and one line says what it is."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture

LOST = "This picture is no longer kept, or it belongs to another key."


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


def finished(gateway: Gateway, prompt: str, **headers: str) -> str:
    job = gateway.accepted({"prompt": prompt}, **headers)["id"]
    gateway.finish(job, encoded(picture(size=(64, 64))))
    return str(job)


@pytest.mark.parametrize("job", ["0" * 32, "not/an id"], ids=["dead", "malformed"])
def test_a_link_to_no_job_opens_the_studio(still: Desk, job: str) -> None:
    still.page.goto(f"{still.url}/#job={job}")
    expect(still.ready().page.locator("#notice")).to_contain_text(LOST)
    expect(still.page.locator("#prompt")).to_be_visible()
    expect(still.page.locator("input[name=method]").first).to_be_visible()
    assert "#job" not in still.page.url
    still.page.locator("#notice").get_by_role("button", name="Dismiss").click()
    expect(still.page.locator("#notice")).to_be_hidden()


def test_a_link_to_a_job_that_is_being_made_opens_it_once_it_is_there(still: Desk, quiet: Gateway) -> None:
    job = quiet.accepted({"prompt": "not yet"})["id"]
    still.page.goto(f"{still.url}/#job={job}")
    expect(still.ready().page.locator("#notice")).to_contain_text("still being made")
    quiet.finish(job, encoded(picture(size=(64, 64))))
    expect(still.page.locator("#viewer .facts")).to_contain_text("not yet")


def test_another_keys_job_and_a_dismissed_dialog(page: Page, keyed: Gateway, keys: KeyStore) -> None:
    ours, theirs = create_api_key("ours"), create_api_key("theirs")
    for minted in (ours, theirs):
        keys.put(minted.key)
    job = finished(keyed, "theirs", Authorization=f"Bearer {theirs.token}")
    page.goto(f"http://127.0.0.1:{keyed.port}/#job={job}")
    dialog = page.locator("#key-dialog")
    dialog.get_by_role("button", name="Not now").click()
    expect(page.locator("#notice")).to_contain_text("This service needs an API key")
    expect(page.locator("#prompt")).to_be_visible()
    expect(page.locator("#wall")).to_be_visible()
    page.locator("#prompt").fill("kept")
    page.locator("#notice").get_by_role("button", name="Enter a key").click()
    dialog.get_by_label("Key", exact=True).fill(str(ours.token))
    dialog.get_by_role("button", name="Open").click()
    expect(page.locator("#notice")).to_contain_text(LOST)
    expect(page.locator("input[name=method]").first).to_be_visible()
    expect(page.locator("#prompt")).to_have_value("kept")


def test_what_the_service_refuses_at_first_is_asked_for_again(still: Desk) -> None:
    problem: dict[str, Any] = {"status": 503, "title": "Unavailable", "detail": "the store does not answer"}
    still.page.route("**/methods", lambda route: route.fulfill(status=503, json=problem), times=1)
    still.page.goto(still.url)
    expect(still.page.locator("#notice")).to_contain_text("the store does not answer")
    expect(still.page.locator("#prompt")).to_be_visible()
    expect(still.page.locator("#style-shelf").get_by_title("Oil")).to_be_visible()
    still.page.locator("#notice").get_by_role("button", name="Try again").click()
    expect(still.page.locator("input[name=method]").first).to_be_visible()


def test_a_gateway_that_is_away_at_first_leaves_the_form_open(still: Desk) -> None:
    still.page.route("**/models", lambda route: route.abort(), times=1)
    still.page.goto(still.url)
    expect(still.page.locator("#prompt")).to_be_visible()
    expect(still.ready().page.locator("input[name=method]").first).to_be_visible()


def test_a_picture_that_did_not_arrive_is_fetched_again_and_one_that_is_gone_is_said_to_be(
    still: Desk, quiet: Gateway
) -> None:
    late, gone = finished(quiet, "late"), finished(quiet, "gone")
    still.page.route(f"**/jobs/{late}/images/0*", lambda route: route.abort(), times=2)
    still.page.route(f"**/jobs/{gone}/images/0*", lambda route: route.fulfill(status=410, json={"title": "Gone"}))
    still.open()
    expect(still.card(late).locator(".open img")).to_have_js_property("naturalWidth", 64)
    expect(still.card(late)).to_have_class(re.compile("loaded"))
    expect(still.card(late)).not_to_have_class(re.compile("late|broken"))
    still.card(gone).scroll_into_view_if_needed()
    expect(still.card(gone)).to_have_class(re.compile("broken"))


def test_no_condition_is_shown_as_a_word(still: Desk) -> None:
    still.open().drop("#style-drop", STYLE)
    still.page.get_by_label("Compare several").check()
    for method in still.page.locator("input[name=method]").all():
        method.check()
    stray = """() => [...document.querySelectorAll("body *")].flatMap((node) => [...node.childNodes])
        .filter((node) => node.nodeType === 3 && /^(true|false|null|undefined|NaN)$/.test(node.data.trim()))
        .map((node) => node.parentElement.outerHTML)"""
    assert still.page.evaluate(stray) == []


def test_another_method_has_its_own_strength_and_steps_after_a_recipe(still: Desk, quiet: Gateway) -> None:
    made = quiet.accepted({"prompt": "again", "method": "ip-adapter", "strength": "0.5", "steps": "9"})["id"]
    quiet.finish(made, encoded(picture(size=(64, 64))))
    still.open().card(made).get_by_role("button", name="Again with this recipe").click()
    expect(still.page.locator("#strength-value")).to_have_text("0.50")
    expect(still.page.locator("#setting-steps")).to_have_value("9")
    still.method("style-aligned")
    expect(still.page.locator("#strength-value")).to_have_text("1.00")
    expect(still.page.locator("#setting-steps")).to_have_value("")
    still.page.locator("#strength").fill("0.3")
    still.method("ip-adapter")
    expect(still.page.locator("#strength-value")).to_have_text("0.30")
    still.page.get_by_role("button", name="The method’s own").click()
    expect(still.page.locator("#strength-value")).to_have_text("0.50")
    still.page.get_by_label("Compare several").check()
    still.method("style-aligned")
    expect(still.page.locator("#strength-value")).to_have_text("each its own: 0.50, 1.00")
