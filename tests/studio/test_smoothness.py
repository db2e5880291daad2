"""Light to load, still while pictures arrive, smooth with many of them."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import CDPSession, Page, expect

from deploy.embedded.redis import RedisProcess
from tests.studio.desk import STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from workers.contract.jobs.models import Progress

FIRST_LOAD = 200_000
SHIFT = 0.005
MANY = 50
MOST_SECONDS = 3.0
"""Processor time of the page's thread while 50 pictures are scrolled by; others on the machine do not count."""

OBSERVE = """
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""
SIZES = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((entry) => !/\\/(images|inputs)\\//.test(entry.name)).map((entry) => [entry.name, entry.transferSize])"""


@pytest.fixture
def observed(page: Page, quiet: Gateway) -> Desk:
    page.add_init_script(OBSERVE)
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with 50 finished jobs."""
    folder = tmp_path_factory.mktemp("full")
    with RedisProcess(folder / "redis") as redis, Gateway(folder, redis, {"STYLIZE_MODELS": "tiny-sd15"}) as gateway:
        for number in range(MANY):
            job = gateway.accepted({"prompt": f"picture {number}", "width": "512", "height": "512"})
            gateway.finish(job["id"], encoded(picture(size=(512, 512), seed=number)))
        yield gateway


def test_the_first_load_is_small_and_stays_in_the_house(observed: Desk) -> None:
    asked: list[str] = []
    observed.page.on("request", lambda request: asked.append(request.url))
    observed.open()
    for image in observed.page.locator("#style-shelf img").all():
        expect(image).to_have_js_property("complete", True)
    assert [url for url in asked if not url.startswith((observed.url, "blob:"))] == []
    sizes = dict(observed.page.evaluate(SIZES))
    parts = {url: size for url, size in sizes.items() if urlsplit(url).path not in ("/jobs", "/styles")}
    assert len(parts) > 20
    assert sum(parts.values()) < FIRST_LOAD, parts
    assert observed.page.evaluate("window.shift") < SHIFT


def test_nothing_moves_while_a_picture_comes_into_being(observed: Desk, quiet: Gateway) -> None:
    observed.open()
    observed.drop("#style-drop", STYLE)
    observed.prompt("a house")
    observed.method("signal-leak")
    observed.quick(steps=4, side=512)
    observed.send()
    job = observed.job_of(observed.newest())
    observed.page.wait_for_timeout(600)  # a shift right after an input does not count, and must not hide ours
    observed.page.evaluate("window.shift = 0")
    claim = quiet.claimed(job)
    for step in range(1, 5):
        quiet.store.beat(claim, Progress(stage="denoise", step=step, steps=4, fraction=step / 5))
        expect(observed.card(job).locator(".card-state")).to_contain_text(f"step {step} of 4")
    quiet.store.release(claim)
    quiet.finish(job, encoded(picture(size=(512, 512))))
    expect(observed.card(job).locator(".open img")).to_have_js_property("naturalWidth", 512)
    observed.page.wait_for_timeout(300)
    assert observed.page.evaluate("window.shift") < SHIFT


def busy_seconds(session: CDPSession) -> float:
    """Return the processor time that the page's thread has had."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def test_fifty_pictures_stay_smooth(page: Page, full: Gateway) -> None:
    page.add_init_script(OBSERVE)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/images/" in request.url else None)
    desk = Desk(page, f"http://127.0.0.1:{full.port}").open()
    expect(desk.cards("succeeded")).to_have_count(MANY)
    assert len(fetched) < MANY, "pictures far below the screen wait"
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy_seconds(session)
    for _ in range(40):
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(16)
    page.locator(".card").last.scroll_into_view_if_needed()
    expect(page.locator(".card").last).to_have_class(re.compile("loaded"))
    frames: Any = page.evaluate("""() => new Promise((done) => {
        const times = [];
        const tick = (now) => times.push(now) < 30 ? requestAnimationFrame(tick) : done(times.at(-1) - times[0]);
        requestAnimationFrame(tick);
    })""")
    assert frames > 0
    spent = busy_seconds(session) - before
    assert 0 < spent < MOST_SECONDS
    assert page.evaluate("window.shift") < SHIFT
