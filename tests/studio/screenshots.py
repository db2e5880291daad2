"""`python -m tests.studio.screenshots`: the studio's pictures for the README, from a run on this machine.

Starts the service on the model it would serve by default, lets every method that runs there draw one prompt, and
photographs the page at two widths in both themes. On the starter model each method's picture also becomes its
thumbnail.
"""

import argparse
import json
import shutil
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deploy.embedded.demo import SEED
from deploy.embedded.environment import DEFAULT_MODEL
from tests.studio.conftest import NAMES, SWITCHES
from tests.studio.desk import Desk
from tests.studio.examples import FOLDER, INDEX
from tests.support.service import Service, service

TARGET = Path(__file__).parents[2] / "deploy" / "screenshots"
SIZES = {"375": (375, 812), "1440": (1440, 900)}
THEMES = ("light", "dark")
PROMPT, STYLE, CONTENT = "a rocket", "Stained glass", "House"
HALF_HOUR = 1800.0
THUMBNAIL = 112
GAP = 12
MOST_BYTES = 150_000


def main() -> None:
    """Write studio-<width>-<theme>.webp, and viewer-<width>-<theme>.webp at the larger width."""
    parser = argparse.ArgumentParser(prog="python -m tests.studio.screenshots", description=__doc__)
    parser.add_argument("--side", type=int, help="pixels of a side of the pictures (default: the model's own)")
    parser.add_argument("--steps", type=int, help="steps of each picture (default: the methods' own)")
    asked = {name: value for name, value in vars(parser.parse_args()).items() if value}
    TARGET.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=HALF_HOUR * 1000)
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        raise SystemExit("no Chromium on this machine: `make browser` installs Debian's, as root")
    patient = {
        "STYLIZE_MODELS": DEFAULT_MODEL,
        "STYLIZE_WORKER_STALL_SECONDS": str(HALF_HOUR),
        "STYLIZE_LEASE_SECONDS": "60",
    }
    with (
        tempfile.TemporaryDirectory(prefix="stylize-models-") as models,
        service(Path(models), environ={"STYLIZE_MODELS": DEFAULT_MODEL, **patient}) as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=SWITCHES, timeout=HALF_HOUR * 1000)
        state = drawn(browser, running, asked)
        thumbnails(running)
        for width in SIZES:
            for theme in THEMES:
                photograph(browser, running, state, width, theme)
        browser.close()


def drawn(browser: Browser, running: Service, asked: dict[str, int]) -> Any:
    """Let every method draw, as a person would; return what the browser keeps of it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    desk = filled(context.new_page(), running)
    for name, settings in {"side": ("width", "height"), "steps": ("steps",)}.items():
        for setting in settings if name in asked else ():
            desk.setting(setting, asked[name])
    desk.send()
    group = desk.page.locator(".group").first
    expect(group.locator(".card")).to_have_count(desk.page.locator("input[name=method]:checked").count())
    for card in group.locator(".card").all():
        expect(card).to_have_attribute("data-state", "succeeded")
    kept = context.storage_state()
    context.close()
    return kept


def filled(page: Page, running: Service) -> Desk:
    """Return the studio with the form filled in for a comparison of all methods."""
    page.set_default_timeout(HALF_HOUR * 1000)
    desk = Desk(page, f"http://127.0.0.1:{running.port}").open()
    page.locator("#style-shelf").get_by_title(STYLE).click()
    desk.prompt(PROMPT)
    page.get_by_label("Compare several").check()
    for method in page.locator("input[name=method]").all():
        method.check()
    if page.locator("#content-field").is_visible():
        page.locator("#content-shelf").get_by_title(CONTENT).click()
    page.locator("#seed").fill(str(SEED))
    page.locator(".maker-fields").evaluate("node => node.scrollTo(0, 0)")
    return desk


def photograph(browser: Browser, running: Service, state: Any, width: str, theme: str) -> None:
    """Write the page, and at the larger width the viewer as well."""
    wide, high = SIZES[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high},
        color_scheme=theme,  # type: ignore[arg-type]
        storage_state=state,
        reduced_motion="reduce",
    )
    desk = filled(context.new_page(), running)
    page = desk.page
    for image in page.locator(".group .open img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
    page.locator("#away, #complaint").first.wait_for(state="hidden")
    page.evaluate("window.scrollTo(0, 0)")
    page.locator("#announcer").evaluate("node => document.activeElement.blur()")
    if width == "375":
        form = page.screenshot()
        page.locator("#wall").scroll_into_view_if_needed()
        page.locator("#wall").evaluate("node => window.scrollTo(0, node.offsetTop)")
        save(beside(form, page.screenshot()), TARGET / f"studio-{width}-{theme}.webp")
    else:
        save(opened(page.screenshot()), TARGET / f"studio-{width}-{theme}.webp")
        page.locator(".group .open").first.click()
        page.get_by_label("Slider").check()
        for image in page.locator("#viewer img").all():
            expect(image).to_have_js_property("complete", True)
        save(opened(page.screenshot()), TARGET / f"viewer-{width}-{theme}.webp")
    context.close()


def opened(png: bytes) -> Image.Image:
    """Return a screenshot as a picture."""
    return Image.open(BytesIO(png)).convert("RGB")


def beside(left: bytes, right: bytes) -> Image.Image:
    """Return two screenshots side by side: the form and the wall below it."""
    parts = opened(left), opened(right)
    picture = Image.new("RGB", (parts[0].width * 2 + GAP, parts[0].height), "#808080")
    picture.paste(parts[0], (0, 0))
    picture.paste(parts[1], (parts[0].width + GAP, 0))
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Write a screenshot as WebP, as good as its allowance lets it be."""
    for quality in (88, 80, 70, 60, 45):
        picture.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size <= MOST_BYTES:
            return
    raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {MOST_BYTES} are wanted")


def thumbnails(running: Service) -> None:
    """Make each method's picture the thumbnail of its card."""
    index = json.loads(INDEX.read_text())
    for job in running.client.get("/jobs").raise_for_status().json()["jobs"]:
        file = f"method-{job['method']}.webp"
        picture = Image.open(BytesIO(running.client.get(job["images"][0]["url"]).content)).convert("RGB")
        small = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        small.save(FOLDER / file, "WEBP", quality=82, method=6)
        index["methods"][job["method"]] = file
    INDEX.write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
