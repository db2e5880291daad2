"""The studio as a person uses it."""

import base64
import re
from pathlib import Path
from typing import Self

from playwright.sync_api import Locator, Page, expect

from deploy.embedded.demo import EXAMPLES
from tests.support.service import PATIENCE

STYLE = EXAMPLES / "style.png"
CONTENT = EXAMPLES / "content.png"
expect.set_options(timeout=PATIENCE * 1000)

DROP = """([node, name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
    const event = (kind) => new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    for (const kind of ["dragenter", "dragover", "drop"]) node.dispatchEvent(event(kind));
}"""
PASTE = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""


class Desk:
    """A page on a studio."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self) -> Self:
        self.page.goto(self.url)
        return self.ready()

    def ready(self) -> Self:
        """Wait until the form is there."""
        expect(self.page.locator("body:not([data-loading])")).to_be_visible()
        return self

    def drop(self, place: str, picture: Path) -> None:
        """Drop a picture file on a place of the page."""
        target = self.page.locator(place).element_handle()
        self.page.evaluate(DROP, [target, picture.name, base64.b64encode(picture.read_bytes()).decode()])

    def paste(self, picture: Path) -> None:
        """Paste a picture."""
        self.page.evaluate(PASTE, [picture.name, base64.b64encode(picture.read_bytes()).decode()])

    def prompt(self, words: str) -> None:
        self.page.locator("#prompt").fill(words)

    def setting(self, name: str, value: object) -> None:
        """Fill one of the settings, unfolding them first."""
        if not self.page.locator("#settings").evaluate("node => node.open"):
            self.page.locator("#settings > summary").click()
        self.page.locator(f"#setting-{name}").fill(str(value))

    def quick(self, *, steps: int = 2, side: int = 64) -> None:
        """Make the pictures small."""
        for name, value in {"width": side, "height": side, "steps": steps}.items():
            self.setting(name, value)

    def method(self, name: str) -> None:
        self.page.locator(f"input[name=method][value={name}]").check()

    def send(self) -> None:
        """Send the form and wait for what becomes of it: only then is the newest card its own."""
        self.page.locator("#submit").click()
        self.await_sent()

    def await_sent(self) -> None:
        """Wait until the form, which was just sent, is answered or refused."""
        expect(self.page.locator("#submit")).to_have_attribute("aria-busy", "false")

    def cards(self, state: str) -> Locator:
        return self.page.locator(f".card[data-state={state}]")

    def card(self, job_id: str) -> Locator:
        return self.page.locator(f".card[data-job='{job_id}']")

    def newest(self) -> Locator:
        return self.page.locator(".card").first

    def job_of(self, card: Locator) -> str:
        """Return the id of the job that a card shows, once it has one."""
        expect(card).to_have_attribute("data-job", re.compile(r"\w+"))
        return str(card.get_attribute("data-job"))

    def field(self, pointer: str) -> Locator:
        return self.page.locator(f"[data-pointer='{pointer}']")

    def error(self, pointer: str) -> Locator:
        return self.field(pointer).locator("> .error")
