"""The form follows what the service offers, and keeps styles in the service."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.service import until
from workers.techniques.registry import spec

KNOBS: dict[str, Any] = {
    "$defs": {"Part": {"type": "object", "properties": {"id": {"type": "string"}}}},
    "type": "object",
    "properties": {
        "warmth": {"type": "number", "minimum": 0, "maximum": 2, "default": 0.5, "description": "how warm"},
        "rounds": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "grain": {"type": "boolean", "default": True},
        "paper": {"enum": ["rough", "smooth"], "type": "string", "default": "rough"},
        "notes": {"type": "string", "maxLength": 2000, "default": ""},
        "tones": {"type": "array", "items": {"type": "number"}, "default": [1, 2]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "default": []},
    },
}


def body_of(request: Request) -> str:
    return (request.post_data_buffer or b"").decode(errors="replace")


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


def test_a_new_technique_appears_without_a_change_of_the_page(still: Desk) -> None:
    sent: list[str] = []

    def methods(route: Route) -> None:
        offered = route.fetch().json()
        known = next(method for method in offered["methods"] if method["name"] == "signal-leak")
        new = {"name": "etching", "title": "Etching", "family": "acid", "parameters": KNOBS, "brief": "Etches."}
        offered["methods"].append(known | new | {"main_parameters": {}})
        route.fulfill(json=offered)

    still.page.route("**/methods", methods)
    still.page.on("request", lambda request: sent.append(body_of(request)) if request.method == "POST" else None)
    still.open()
    still.method("etching")
    card = still.page.locator(".method", has_text="Etching")
    expect(card.locator(".about")).to_have_text("Etches.")
    still.page.get_by_text("Knobs of Etching").click()
    expect(still.field("params/warmth")).to_contain_text("how warm · 0 to 2")
    entries = {"warmth": "0.25", "rounds": "3", "notes": "fine", "tones": "1, 2.5", "parts": '[{"id": "a"}]'}
    for name, value in entries.items():
        still.field(f"params/{name}").locator("input, textarea").fill(value)
    still.field("params/grain").locator("input").uncheck()
    still.field("params/paper").locator("select").select_option("smooth")
    still.drop("#style-drop", STYLE)
    still.prompt("a house")
    still.send()
    expect(still.page.locator("#refusal")).to_be_visible()
    (body,) = sent
    params = body.partition('name="params"')[2].strip().splitlines()[0]
    assert json.loads(params) == {
        "warmth": 0.25,
        "rounds": 3,
        "grain": False,
        "paper": "smooth",
        "notes": "fine",
        "tones": [1, 2.5],
        "parts": [{"id": "a"}],
    }


def test_a_style_is_saved_taken_and_deleted(still: Desk, quiet: Gateway) -> None:
    still.open()
    still.drop("#style-drop", STYLE)
    still.page.get_by_role("button", name="Save as a style").click()
    dialog = still.page.locator("#save-dialog")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_have_text("must have 1 to 100 characters")
    dialog.get_by_label("Name").fill("Grandmother's quilt")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(still.page.locator("#maker[data-kept=true]")).to_be_attached()
    still.open()
    saved = still.page.locator("#style-shelf").get_by_title("Grandmother's quilt")
    expect(saved).to_have_attribute("aria-pressed", "true")
    still.prompt("a house")
    still.method("signal-leak")
    still.send()
    job = still.job_of(still.newest())
    (style,) = quiet.client.get("/styles").json()["styles"]
    used = quiet.client.get(f"/jobs/{job}").json()["recipe"]["style_images"]
    assert used == [style["references"][0]["sha256"]]
    delete = still.page.get_by_role("button", name="Delete “Grandmother's quilt”")
    delete.click()
    expect(saved).to_have_count(0)
    still.page.locator("#undo").get_by_role("button", name="Undo").click()
    saved.click()
    assert len(quiet.client.get("/styles").json()["styles"]) == 1
    delete.click()
    still.page.goto("about:blank")
    until(lambda: quiet.client.get("/styles").json()["styles"] == [], "a page that is left deletes")


def test_the_theme_is_the_systems_until_another_is_chosen(still: Desk) -> None:
    still.page.emulate_media(color_scheme="dark")
    still.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = still.page.evaluate(ground)
    still.page.get_by_role("button", name="Theme: system").click()
    expect(still.page.get_by_role("button", name="Theme: light")).to_be_visible()
    until(lambda: still.page.evaluate(ground) != dark, "the theme changes")
    still.open()
    assert still.page.evaluate(ground) != dark


def test_the_recommended_method_is_chosen_at_first_and_said_in_one_plain_sentence(still: Desk) -> None:
    best = {"model": "tiny-sd15", "input": "text", "reason": "best measured", "style_similarity": 1}

    def methods(route: Route) -> None:
        offered = route.fetch().json()
        for method in offered["methods"]:
            method["recommended"] = [best | {"content_accuracy": 1}] if method["name"] == "style-aligned" else []
        route.fulfill(json=offered)

    still.page.route("**/methods", methods)
    expect(still.open().page.locator("input[name=method]:checked")).to_have_value("style-aligned")
    card = still.page.locator(".method:has(input:checked)")
    expect(card.locator(".tags")).to_contain_text("recommended")
    expect(card.locator(".about")).to_have_text(spec("style-aligned").brief)
    still.page.get_by_text("Knobs of StyleAligned").click()
    expect(still.field("params/reference_prompt")).to_be_visible()
    expect(still.field("params/adain_queries")).to_be_hidden()
    still.page.locator("#knobs").get_by_text("For experts").click()
    expect(still.field("params/adain_queries")).to_be_visible()
    expect(still.field("params/share_layer_norm")).to_have_count(0)
