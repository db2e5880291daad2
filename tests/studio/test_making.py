"""From a picture dropped on the page to pictures on the wall, on the real service with a worker."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.studio.desk import CONTENT, STYLE, Desk
from tests.support.service import Service, quick


def test_a_dropped_picture_becomes_a_picture_in_its_style(desk: Desk, running: Service) -> None:
    desk.drop("body", STYLE)
    expect(desk.page.locator("#style-drop .picked img")).to_have_count(1)
    desk.prompt("a house by a lake")
    desk.method("signal-leak")
    desk.quick(steps=150, side=192)
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "running")
    expect(card.locator(".frame img.preview")).to_be_visible()
    expect(card.locator(".card-state")).to_contain_text("step")
    expect(card).to_have_attribute("data-state", "succeeded")
    expect(card.locator(".open img")).to_be_visible()
    job = running.job(desk.job_of(card))
    assert (job["method"], job["recipe"]["prompt"], job["recipe"]["width"]) == ("signal-leak", "a house by a lake", 192)
    assert card.locator(".open img").evaluate("image => image.naturalWidth") == 192


def test_all_methods_side_by_side_at_one_seed(desk: Desk, running: Service) -> None:
    desk.paste(STYLE)
    desk.prompt("a boat")
    desk.page.get_by_label("Compare several").check()
    for method in ("style-aligned", "signal-leak", "style-id"):
        desk.method(method)
    desk.drop("#content-drop", CONTENT)
    desk.quick(side=128)
    desk.page.locator("#all-methods").click()
    expect(desk.page.locator("#submit")).to_have_text("Compare 3 methods")
    desk.send()
    group = desk.page.locator(".group").first
    expect(group.locator(".card[data-state=succeeded]")).to_have_count(3)
    assert group.locator(".card-name").all_text_contents() == ["StyleAligned", "Signal leak", "StyleID"]
    jobs = [running.job(desk.job_of(card)) for card in group.locator(".card").all()]
    assert len({job["recipe"]["seed"] for job in jobs}) == 1
    with desk.page.expect_download() as arriving:
        group.get_by_role("button", name="Contact sheet").click()
    with Image.open(arriving.value.path()) as sheet:
        assert sheet.width >= 3 * 256
    desk.open()
    expect(desk.page.locator(".group .card[data-state=succeeded]")).to_have_count(3)


def test_a_job_can_be_canceled_and_survives_a_reload(desk: Desk, running: Service) -> None:
    desk.drop("#style-drop", STYLE)
    desk.prompt("a long one")
    desk.method("signal-leak")
    desk.quick(steps=150, side=512)
    desk.send()
    job = desk.job_of(desk.newest())
    expect(desk.card(job)).to_have_attribute("data-state", "running")
    desk.open()
    expect(desk.card(job)).to_have_attribute("data-state", "running")
    expect(desk.card(job).locator(".card-state")).to_contain_text("of 150")
    desk.card(job).get_by_role("button", name="Cancel").click()
    expect(desk.card(job)).to_have_attribute("data-state", "canceled")
    assert running.finished(job)["state"] == "canceled"
    assert desk.card(job).get_by_role("button", name="Cancel").count() == 0


def test_again_with_a_recipe_makes_the_same_picture(desk: Desk, running: Service) -> None:
    desk.page.locator("#style-shelf").get_by_title("Chalk").click()
    desk.prompt("a bird")
    desk.method("signal-leak")
    desk.quick()
    desk.page.get_by_text("Knobs of Signal leak").click()
    desk.field("params/leak_scale").locator("input").fill("0.5")
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "succeeded")
    first = running.job(desk.job_of(card))
    assert first["recipe"]["params"]["leak_scale"] == 0.5
    desk.open()
    desk.card(first["id"]).get_by_role("button", name="Again with this recipe").click()
    expect(desk.page.locator("#seed")).to_have_value(str(first["recipe"]["seed"]))
    desk.send()
    expect(desk.cards("succeeded").first).not_to_have_attribute("data-job", first["id"])
    second = running.finished(desk.job_of(desk.newest()))
    assert second["recipe"] == first["recipe"]
    assert second["images"][0]["sha256"] == first["images"][0]["sha256"]


def test_a_picture_is_looked_at_from_all_sides(desk: Desk, running: Service) -> None:
    desk.page.locator("#style-shelf").get_by_title("Neon").click()
    desk.prompt("a flower")
    desk.method("signal-leak")
    desk.quick()
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "succeeded")
    job = running.job(desk.job_of(card))
    card.locator(".open").click()
    viewer = desk.page.locator("#viewer")
    stage = viewer.locator(".stage")
    stage.focus()
    desk.page.keyboard.press("+")
    fit = "([stage, image]) => Math.min(stage.clientWidth, stage.clientHeight) / image.naturalWidth"
    image = stage.locator("img")
    expect(image).to_have_js_property("naturalWidth", 64)
    whole = desk.page.evaluate(fit, [stage.element_handle(), image.element_handle()])
    expect(viewer.locator(".zoom-value")).to_have_text(f"{round(whole * 125)} %")
    desk.page.keyboard.press("1")
    expect(viewer.locator(".zoom-value")).to_have_text("100 %")
    viewer.get_by_label("Side by side").check()
    expect(viewer.locator(".beside img")).to_have_count(2)
    for image in viewer.locator(".beside img").all():
        expect(image).not_to_have_js_property("naturalWidth", 0)
    viewer.get_by_label("Slider").check()
    slider = viewer.get_by_role("slider")
    slider.focus()
    desk.page.keyboard.press("ArrowRight")
    assert viewer.locator(".slider").evaluate("node => node.style.getPropertyValue('--at')") == "51%"
    desk.page.reload()
    expect(viewer).to_be_visible()
    with desk.page.expect_download() as arriving:
        viewer.get_by_role("button", name="Download").click()
    digest = hashlib.sha256(arriving.value.path().read_bytes()).hexdigest()
    assert digest == job["images"][0]["sha256"]
    viewer.get_by_role("button", name="Keep this seed").click()
    expect(desk.page.locator("#seed")).to_have_value(str(job["recipe"]["seed"]))


def test_all_pictures_of_a_job_are_in_sight_and_saved_together(desk: Desk) -> None:
    desk.page.locator("#style-shelf").get_by_title("Neon").click()
    desk.prompt("two cups")
    desk.method("signal-leak")
    desk.quick()
    desk.setting("num_images", 2)
    desk.send()
    card = desk.newest()
    expect(card).to_have_attribute("data-state", "succeeded")
    expect(card.locator(".open img")).to_have_count(2)
    for image in card.locator(".open img").all():
        expect(image).to_have_js_property("naturalWidth", 64)
    with desk.page.expect_download() as arriving:
        card.get_by_role("button", name="Download").click()
    with ZipFile(arriving.value.path()) as saved:
        assert sum(name.endswith(".png") for name in saved.namelist()) == 2
    card.locator(".open").last.click()
    expect(desk.page.locator("#viewer").get_by_role("button", name="Picture 2")).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(desk.page.locator("#viewer .facts")).to_contain_text("Kept until")


def copied(desk: Desk, running: Service, button: str) -> tuple[dict[str, Any], str]:
    """Return a job, and what a button of its viewer copies."""
    desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    job = running.finished(running.submit(quick(prompt='it\'s "quoted" $HOME', seed=2**63 - 1))["id"])
    desk.page.goto(f"{desk.url}/#job={job['id']}")
    viewer = desk.page.locator("#viewer")
    viewer.get_by_role("button", name=button).click()
    expect(viewer.get_by_role("button", name="Copied")).to_be_visible()
    return job, str(desk.page.evaluate("navigator.clipboard.readText()"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_copied_command_makes_the_same_picture(desk: Desk, running: Service) -> None:
    job, command = copied(desk, running, "Copy as curl")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    again = running.finished(json.loads(done.stdout)["id"])
    assert again["recipe"] == job["recipe"]
    assert again["images"][0]["sha256"] == job["images"][0]["sha256"]


def test_the_copied_program_makes_the_same_picture(desk: Desk, running: Service, tmp_path: Path) -> None:
    job, program = copied(desk, running, "Copy as Python")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    (picture,) = (tmp_path / "out").iterdir()
    assert hashlib.sha256(picture.read_bytes()).hexdigest() == job["images"][0]["sha256"]
