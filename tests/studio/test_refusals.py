"""What goes wrong is said where it belongs, in the service's own words: fields, keys, a gateway that is away."""

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.auth.api_key import create_api_key
from app.auth.key_store import KeyStore
from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    """The studio of a gateway without workers."""
    return Desk(page, f"http://127.0.0.1:{quiet.port}").open()


def test_each_fault_stands_at_its_field(still: Desk) -> None:
    still.method("signal-leak")
    still.setting("width", 65)
    still.setting("steps", "many")
    still.send()
    expect(still.error("prompt")).to_have_text("say what to draw")
    expect(still.error("style_image")).to_contain_text("Signal leak needs one style picture")
    expect(still.page.locator("#prompt")).to_be_focused()
    still.prompt("a house")
    still.send()
    expect(still.page.locator("#style-drop-file")).to_be_focused()
    still.drop("#style-drop", STYLE)
    still.send()
    expect(still.error("width")).to_have_text("must be a whole number from 64 to 2048, a multiple of 8")
    expect(still.error("steps")).to_have_text("must be a whole number from 1 to 150")
    expect(still.page.locator("#refusal")).to_contain_text("The request is invalid")
    expect(still.page.locator("#setting-width")).to_have_attribute("aria-invalid", "true")
    expect(still.page.locator(".card:not([data-job])")).to_have_count(0)
    still.setting("width", 64)
    still.setting("steps", "")
    still.send()
    expect(still.newest()).to_have_attribute("data-state", "queued")
    expect(still.page.locator(".error:visible")).to_have_count(0)


def test_a_fault_in_a_comparison_stands_at_the_knob_of_its_method(still: Desk) -> None:
    still.drop("#style-drop", STYLE)
    still.prompt("a house")
    still.page.get_by_label("Compare several").check()
    for method in ("style-aligned", "signal-leak"):
        still.method(method)
    still.page.get_by_text("Knobs of Signal leak").click()
    still.page.locator("[data-pointer='params/leak_scale'][data-method='signal-leak'] input").fill("99")
    still.send()
    wrong = still.page.locator("[data-pointer='params/leak_scale'] > .error:visible")
    expect(wrong).to_have_count(1)
    expect(wrong).to_contain_text("must be a number from 0 to 3")


NOT_PICTURES = {
    "note.png": (b"this is no picture", "is no picture"),
    "photo.heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "export it as JPEG"),
    "moving.gif": (b"GIF89a" + bytes(20), "is a GIF file"),
    "cut.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(20), "is damaged"),
}


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_a_file_that_is_no_picture_is_told_before_it_is_sent(still: Desk, name: str) -> None:
    content, words = NOT_PICTURES[name]
    good = {"name": "good.png", "mimeType": "image/png", "buffer": STYLE.read_bytes()}
    chosen = still.page.locator("#style-drop-file")
    chosen.set_input_files([good, {"name": name, "mimeType": "image/png", "buffer": content}])  # type: ignore[list-item]
    expect(still.error("style_image")).to_contain_text(words)
    expect(still.error("style_image")).to_contain_text(name)
    expect(still.page.locator("#style-drop .picked img")).to_have_count(1)


def test_what_is_sent_with_a_file_that_is_no_picture_is_not_sent(still: Desk) -> None:
    still.prompt("a house")
    still.method("signal-leak")
    still.drop("#style-drop", Path(__file__))
    still.send()
    expect(still.error("style_image")).to_contain_text("“test_refusals.py” is no picture")
    expect(still.page.locator("#submit")).to_have_attribute("aria-busy", "false")
    expect(still.error("style_image")).to_contain_text("“test_refusals.py” is no picture")


def test_how_many_pictures_a_method_takes_is_told_when_it_is_chosen(still: Desk) -> None:
    aside = still.page.locator("#style-aside")
    still.method("signal-leak")
    expect(aside).to_have_text("up to 4 pictures")
    for _ in range(4):
        still.drop("#style-drop", STYLE)
    expect(still.page.locator("#style-drop .picked li")).to_have_count(4)
    place = "node => { const {left, right} = node.getBoundingClientRect(); return [left, right]; }"
    left, right = still.page.locator("#style-drop").evaluate(place)
    tiles = [one.evaluate(place) for one in still.page.locator("#style-drop .picked li").all()]
    assert all(left <= start and end <= right for start, end in tiles), "all four are in sight"
    still.method("style-aligned")
    expect(aside).to_have_text("one picture")
    expect(aside).to_have_class(re.compile("warn"))
    still.prompt("a house")
    still.send()
    expect(still.error("style_image")).to_have_text("StyleAligned takes one style picture, 4 are picked")


def test_a_long_prompt_is_counted_and_said_to_be_too_long(still: Desk) -> None:
    still.prompt("a house")
    expect(still.page.locator("#prompt-count")).to_have_text("about 2 of 75 tokens")
    expect(still.page.locator("#prompt-note")).to_be_empty()
    still.prompt("a small red house by a lake, " * 12)
    expect(still.page.locator("#prompt-note")).to_contain_text("the model reads about the first 75 tokens")


@pytest.fixture
def token(keys: KeyStore) -> str:
    minted = create_api_key("studio")
    keys.put(minted.key)
    return str(minted.token)


def test_a_closed_service_asks_for_a_key_and_shows_its_pictures(page: Page, keyed: Gateway, token: str) -> None:
    page.goto(f"http://127.0.0.1:{keyed.port}")
    dialog = page.locator("#key-dialog")
    expect(dialog).to_contain_text("An API key is needed")
    dialog.get_by_label("Key", exact=True).fill("stylize_wrong")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog.get_by_role("alert")).to_contain_text("a valid API key is needed")
    dialog.get_by_label("Key", exact=True).fill(token)
    dialog.get_by_role("button", name="Open").click()
    expect(dialog).to_be_hidden()
    desk = Desk(page, page.url).ready()
    desk.drop("#style-drop", STYLE)
    desk.prompt("a secret house")
    desk.method("signal-leak")
    desk.send()
    job = desk.job_of(desk.newest())
    keyed.finish(job, encoded(picture(size=(64, 64))))
    expect(desk.card(job).locator(".open img")).to_have_js_property("naturalWidth", 64)
    page.reload()
    expect(desk.card(job).locator(".open img")).to_have_js_property("naturalWidth", 64)
    desk.card(job).locator(".open").click()
    page.locator("#viewer").get_by_label("Side by side").check()
    expect(page.locator("#viewer .beside img").first).to_have_js_property("naturalWidth", 256)


def test_a_gateway_that_is_away_is_said_and_nothing_is_lost(page: Page, quiet: Gateway) -> None:
    desk = Desk(page, f"http://127.0.0.1:{quiet.port}").open()
    desk.drop("#style-drop", STYLE)
    desk.prompt("kept while away")
    desk.method("signal-leak")
    assert quiet.process is not None
    quiet.process.send_signal(signal.SIGTERM)
    quiet.process.wait(PATIENCE)
    desk.send()
    expect(page.locator("#away")).to_contain_text("The gateway does not answer")
    expect(page.locator("#refusal")).to_contain_text("Nothing is lost")
    quiet.__enter__()
    expect(page.locator("#away")).to_be_hidden()
    expect(page.locator("#prompt")).to_have_value("kept while away")
    desk.send()
    expect(desk.newest()).to_have_attribute("data-state", "queued")


def test_another_keys_reference_is_404(keyed: Gateway, keys: KeyStore, token: str) -> None:
    other = create_api_key("another")
    keys.put(other.key)
    theirs, ours = ({"Authorization": f"Bearer {one}"} for one in (other.token, token))
    job = keyed.accepted(files=[("style_image", ("a.png", encoded(picture(seed=92)), "image/png"))], **ours)
    path = f"/inputs/{job['recipe']['style_images'][0]}"
    assert keyed.client.get(path, headers=ours).status_code == 200
    assert keyed.client.get(path, headers=theirs).status_code == 404
    assert keyed.client.get(path).status_code == 401
