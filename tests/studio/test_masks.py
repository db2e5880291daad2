"""Masks: painted on the content picture, or a file; and the map that a job made."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.studio.conftest import chromium
from tests.studio.desk import CONTENT, STYLE, Desk
from tests.support.service import Service, service
from tests.support.tiny.flux_store import install_flux_models


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    chromium()
    store = install_flux_models(tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("made"))
    with service(store, environ={"STYLIZE_MODELS": "tiny-flux-fill,tiny-flux-control"}) as running:
        yield running


@pytest.fixture
def desk(page: Page, flux: Service) -> Desk:
    return Desk(page, f"http://127.0.0.1:{flux.port}").open()


def test_a_mask_is_painted_on_the_content_picture(desk: Desk, flux: Service) -> None:
    page = desk.page
    desk.method("fill")
    desk.prompt("a house")
    desk.drop("#content-drop", CONTENT)
    page.get_by_role("button", name="Paint it on the content picture").click()
    canvas = page.locator("#mask-canvas")
    expect(canvas).to_be_focused()
    canvas.press("ArrowRight")
    canvas.press("Space")
    expect(page.locator("#mask-drop .picked img")).to_have_count(1)
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    desk.quick()
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "succeeded")
    recipe = flux.job(desk.job_of(card))["recipe"]
    mask = Image.open(BytesIO(flux.client.get(f"/inputs/{recipe['mask_image']}").raise_for_status().content))
    with Image.open(CONTENT) as content:
        assert mask.size == content.size
    width, height = mask.size
    assert [mask.getpixel((x, height // 2)) for x in (0, width // 4, width * 3 // 8, width // 2)] == [0, 255, 255, 255]
    card.locator(".open").click()
    expect(page.locator("#viewer .strip .swatch")).to_have_text(["Content", "Mask"])


def test_the_map_that_a_job_made_is_shown(desk: Desk) -> None:
    page = desk.page
    desk.page.locator("#settings > summary").click()
    page.locator("#setting-model").select_option("tiny-flux-control")
    desk.method("redux")
    expect(page.locator("#mask-field")).to_be_hidden()
    desk.drop("#style-drop", STYLE)
    desk.prompt("a house")
    page.locator("#control-field > summary").click()
    desk.drop("#control-drop", CONTENT)
    page.get_by_text("Knobs of FLUX.1 Redux").click()
    page.locator("#knobs details[data-method=redux]").get_by_text("For experts").click()
    desk.field("params/control_source").locator("select").select_option("canny")
    desk.quick()
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "succeeded")
    card.locator(".open").click()
    expect(page.locator("#viewer .strip .swatch")).to_have_text(["Reference", "Control", "Map made"])
    page.get_by_role("button", name="Map made").click()
    page.get_by_label("Side by side").check()
    expect(page.locator("#viewer figure img").first).to_have_js_property("naturalWidth", 64)
