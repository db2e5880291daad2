"""What is redrawn while somebody uses it keeps the focus, a press in progress and what is being typed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.studio.desk import CONTENT, STYLE, Desk
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture
from tests.support.service import PATIENCE

LOOK_AGAIN = 4_000
"""Milliseconds after which the page asks anew whether a worker is ready."""
SAVED = {"id": "late", "name": "A late style", "references": [{"sha256": "0" * 64}]}


class Held:
    """Answers of one address that the test keeps back."""

    def __init__(self, page: Page, address: str, method: str = "GET") -> None:
        self._method = method
        self._routes: list[Route] = []
        page.route(address, self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.method == self._method:
            self._routes.append(route)
        else:
            route.fallback()

    def take(self, page: Page) -> Route:
        """Return the oldest request that is kept back, once there is one."""
        for _ in range(int(PATIENCE / 0.02)):
            if self._routes:
                break
            page.wait_for_timeout(20)
        return self._routes.pop(0)


@pytest.fixture
def still(page: Page, quiet: Gateway) -> Desk:
    page.clock.install()
    return Desk(page, f"http://127.0.0.1:{quiet.port}")


@contextmanager
def pressing(control: Locator) -> Iterator[None]:
    """Hold the space bar down on a control, and let it go afterwards."""
    control.focus()
    control.page.keyboard.down("Space")
    yield
    expect(control).to_be_focused()
    control.page.keyboard.up("Space")


@contextmanager
def typing(entry: Locator, before: str, after: str) -> Iterator[None]:
    """Type one part of a text, and the other afterwards."""
    entry.focus()
    entry.page.keyboard.type(before)
    yield
    expect(entry).to_be_focused()
    entry.page.keyboard.type(after)
    expect(entry).to_have_value(before + after)


def example(desk: Desk, name: str) -> Locator:
    return desk.page.locator("#style-shelf").get_by_title(name)


def offer_another_method(desk: Desk) -> None:
    """Let a worker become ready that brings another method, and wait until it is shown."""

    def methods(route: Route) -> None:
        offered = route.fetch().json()
        known = next(method for method in offered["methods"] if method["name"] == "signal-leak")
        new = known | {"name": "etching", "title": "Etching", "warm": True}
        route.fulfill(json={"methods": [new, *offered["methods"]]})

    desk.page.route("**/methods", methods)
    desk.page.clock.fast_forward(LOOK_AGAIN)
    expect(desk.page.locator(".method", has_text="Etching")).to_be_visible()


def lose_the_gateway_for_a_moment(page: Page) -> None:
    """Let one request fail: once the gateway answers again, the page reads the list of jobs anew."""
    page.route("**/methods", lambda route: route.abort(), times=1)
    with page.expect_response("**/jobs?limit=50"):
        page.clock.fast_forward(LOOK_AGAIN)


def fill(desk: Desk, *methods: str) -> None:
    desk.drop("#style-drop", STYLE)
    desk.prompt("a house")
    if len(methods) > 1:
        desk.page.get_by_label("Compare several").check()
        desk.page.locator("input[name=method]:checked").uncheck()
    for method in methods:
        desk.method(method)


def send(desk: Desk, *methods: str) -> None:
    fill(desk, *methods)
    desk.send()


def test_a_shelf_that_gets_a_style_late(still: Desk) -> None:
    held = Held(still.page, "**/styles?*")
    still.page.goto(still.url)
    with pressing(example(still, "Oil")):
        held.take(still.page).fulfill(json={"styles": [SAVED], "cursor": None})
        expect(still.page.locator("#style-shelf").get_by_title("A late style")).to_be_visible()
    expect(example(still, "Oil")).to_have_attribute("aria-pressed", "true")
    expect(example(still, "Oil")).to_be_focused()


def test_an_example_pressed_while_the_gateway_is_away_is_taken_once_it_is_back(still: Desk) -> None:
    still.open().page.route("**/oil.webp", lambda route: route.abort(), times=1)
    example(still, "Oil").press("Enter")
    expect(example(still, "Oil")).to_have_attribute("aria-pressed", "true")


def test_of_two_examples_the_one_pressed_last_is_taken(still: Desk) -> None:
    held = Held(still.open().page, "**/oil.webp")
    example(still, "Oil").press("Enter")
    slow = held.take(still.page)
    example(still, "Neon").press("Enter")
    expect(example(still, "Neon")).to_have_attribute("aria-pressed", "true")
    with still.page.expect_response("**/oil.webp"):
        slow.continue_()
    still.page.evaluate("fetch('livez')")
    expect(example(still, "Neon")).to_have_attribute("aria-pressed", "true")
    expect(example(still, "Oil")).to_have_attribute("aria-pressed", "false")


def test_a_method_while_the_methods_are_offered_anew(still: Desk) -> None:
    chosen = still.open().page.locator("input[name=method][value=signal-leak]")
    with pressing(chosen):
        offer_another_method(still)
    expect(chosen).to_be_checked()


def test_a_knob_while_the_methods_are_offered_anew(still: Desk) -> None:
    still.open().method("signal-leak")
    still.page.get_by_text("Knobs of Signal leak").click()
    with typing(still.field("params/leak_scale").locator("input"), "0.", "5"):
        offer_another_method(still)


def test_the_reasons_why_methods_cannot_run_stay_open(still: Desk) -> None:
    summary = still.open().page.locator(".others > summary")
    summary.press("Enter")
    offer_another_method(still)
    expect(summary).to_be_focused()
    expect(still.page.locator(".others > dl")).to_be_visible()


def test_a_weight_while_a_picture_is_added(still: Desk) -> None:
    still.open().paste(STYLE)
    still.paste(CONTENT)
    with typing(still.page.get_by_label("Weight of picture 2"), "0.", "5"):
        still.paste(STYLE)
        expect(still.page.locator("#style-drop .picked img")).to_have_count(3)


def test_saving_a_style_while_a_picture_is_added(still: Desk) -> None:
    still.open().paste(STYLE)
    with pressing(still.page.get_by_role("button", name="Save as a style")):
        still.paste(CONTENT)
        expect(still.page.locator("#style-drop .picked img")).to_have_count(2)
    expect(still.page.locator("#save-dialog")).to_be_visible()


def test_a_cancel_while_a_worker_takes_the_job(still: Desk, quiet: Gateway) -> None:
    send(still.open(), "signal-leak")
    job = still.job_of(still.newest())
    with pressing(still.card(job).get_by_role("button", name="Cancel")):
        quiet.claimed(job)
        expect(still.card(job)).to_have_attribute("data-state", "running")
    expect(still.card(job)).to_have_attribute("data-state", "canceling")


def test_a_card_whose_controls_go_takes_the_focus(still: Desk, quiet: Gateway) -> None:
    send(still.open(), "signal-leak")
    job = still.job_of(still.newest())
    still.card(job).get_by_role("button", name="Cancel").focus()
    quiet.finish(job, encoded(picture(size=(64, 64))))
    expect(still.card(job)).to_have_attribute("data-state", "succeeded")
    expect(still.card(job)).to_be_focused()
    still.page.keyboard.press("Tab")
    expect(still.card(job).locator(".open")).to_be_focused()


def test_a_cancel_of_all_while_one_is_taken(still: Desk, quiet: Gateway) -> None:
    send(still.open(), "style-aligned", "signal-leak")
    group = still.page.locator(".group").first
    job = still.job_of(group.locator(".card").first)
    with pressing(group.get_by_role("button", name="Cancel all")):
        quiet.finish(job, encoded(picture(size=(64, 64))))
        expect(group.locator(".card[data-state=succeeded]")).to_have_count(1)
    expect(group.locator(".card[data-state=canceled]")).to_have_count(1)
    expect(group).to_be_focused()


@pytest.mark.parametrize("methods", [["signal-leak"], ["style-aligned", "signal-leak"]], ids=["job", "comparison"])
def test_a_job_that_the_list_shows_before_its_answer_arrives(still: Desk, methods: list[str]) -> None:
    held = Held(still.open().page, "**/comparisons" if len(methods) > 1 else "**/stylize", "POST")
    fill(still, *methods)
    still.page.locator("#submit").click()
    sent = held.take(still.page)
    answer = sent.fetch()
    body: dict[str, Any] = answer.json()
    job = body["cells"][0]["job"]["id"] if "cells" in body else body["id"]
    lose_the_gateway_for_a_moment(still.page)
    with pressing(still.card(job).get_by_role("button", name="Cancel")):
        sent.fulfill(response=answer)
        expect(still.page.locator("#submit")).to_have_attribute("aria-busy", "false")
    expect(still.card(job)).to_have_attribute("data-state", "canceled")
    expect(still.card(job)).to_have_count(1)
    expect(still.page.locator(".card:not([data-job])")).to_have_count(0)


def test_the_viewer_while_it_goes_to_another_picture(still: Desk, quiet: Gateway) -> None:
    older, newer = (quiet.accepted({"prompt": prompt})["id"] for prompt in ("the older", "the newer"))
    for job in (older, newer):
        quiet.finish(job, encoded(picture(size=(64, 64))))
    still.open().card(newer).locator(".open").click()
    viewer = still.page.locator("#viewer")
    for control, way, prompt in (
        (viewer.get_by_role("button", name="Older picture"), "Enter", "the older"),
        (viewer.get_by_role("button", name="Newer picture"), "Enter", "the newer"),
        (viewer.get_by_role("button", name="Nearer"), "ArrowRight", "the older"),
        (viewer.get_by_role("button", name="Copy as curl"), "ArrowLeft", "the newer"),
    ):
        control.press(way)
        expect(viewer.locator(".facts")).to_contain_text(prompt)
        expect(control).to_be_focused()


def test_the_focus_leaves_what_is_hidden(still: Desk) -> None:
    still.open().page.context.set_offline(True)
    still.page.clock.fast_forward(LOOK_AGAIN)
    retry = still.page.get_by_role("button", name="Try now")
    expect(retry).to_be_visible()
    retry.focus()
    still.page.context.set_offline(False)
    still.page.clock.fast_forward(10_000)
    expect(retry).to_be_hidden()
    expect(still.page.locator("#maker")).to_be_focused()
