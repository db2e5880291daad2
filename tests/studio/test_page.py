"""The page's files as the gateway serves them; no browser needed."""

import re
from pathlib import Path

import pytest

from app.studio.page import STATIC
from tests.support.gateway import Gateway
from tests.support.pictures import encoded, picture

MODULES = sorted(STATIC.rglob("*.js"))
PAGE = (STATIC / "index.html").read_text()
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
NAMES = ("utils", "helpers", "common", "manager")


@pytest.mark.parametrize("path", FILES)
def test_each_file_is_served_under_a_strict_policy(quiet: Gateway, path: str) -> None:
    answer = quiet.client.get(f"/studio/{path}")
    assert answer.content == (STATIC / path).read_bytes()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = quiet.client.get(f"/studio/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_is_at_the_root(quiet: Gateway) -> None:
    answer = quiet.client.get("/")
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"].startswith("text/html")
    asked = quiet.client.head("/")
    assert (asked.status_code, asked.content, asked.headers["etag"]) == (200, b"", answer.headers["etag"])


def test_its_requests_are_counted_where_they_are_served(quiet: Gateway) -> None:
    quiet.client.get("/")
    quiet.client.get("/studio/js/main.js")
    quiet.client.get("/studio/none.js")
    counted = set(re.findall(r'route="([^"]*)"', quiet.client.get("/metrics").text))
    assert {"/", "/studio"} <= counted
    assert not {route for route in counted if ".js" in route}


@pytest.mark.parametrize("path", ["none.js", "../page.py", "%2e%2e/page.py", "js", "/etc/passwd"])
def test_nothing_else_is_served(quiet: Gateway, path: str) -> None:
    assert quiet.client.get(f"/studio/{path}").status_code == 404


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", PAGE)
    for path in [*MODULES, *STATIC.rglob("*.css"), STATIC / "index.html"]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\burl\(|@import|innerHTML|insertAdjacentHTML|\beval\(", text), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_and_all_it_imports_is_there(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert path.stem not in NAMES
    for names, source in re.findall(r'import (?:\{([^}]*)\}|\* as \w+) from "\./([\w.]+)"', text):
        exported = (path.parent / source).read_text()
        for name in filter(None, (part.strip() for part in names.split(","))):
            assert re.search(rf"export (?:async )?(?:function\*?|const|class|let) {name}\b", exported), (source, name)
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is imported and not used"


def test_all_modules_are_asked_for_at_once() -> None:
    imported = {name for path in MODULES for name in re.findall(r'from "\./([\w.]+)"', path.read_text())}
    assert re.findall(r'<link rel="modulepreload" href="studio/js/([\w.]+)">', PAGE) == sorted(imported)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_children_are_put_into_elements_where_falsy_ones_are_left_out(path: Path) -> None:
    """`append(false)` writes the word "false"."""
    text = path.read_text() if path.name != "dom.js" else ""
    assert not re.search(r"(?<!form)\.(append|replaceChildren|replaceWith|after|before)\(", text)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_a_module_exports_is_used_by_another(path: Path) -> None:
    others = "".join(other.read_text() for other in MODULES if other != path)
    exported = re.findall(r"export (?:async )?(?:function\*?|const|class|let) (\w+)", path.read_text())
    assert [name for name in exported if not re.search(rf"\b{name}\b", others)] == []


def test_a_callers_references_can_be_fetched_and_nobody_elses(quiet: Gateway) -> None:
    job = quiet.accepted(files=[("style_image", ("a.png", encoded(picture(seed=91)), "image/png"))])
    (sha256,) = job["recipe"]["style_images"]
    answer = quiet.client.get(f"/inputs/{sha256}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert sha256 in answer.headers["etag"]
    assert quiet.client.get(f"/inputs/{sha256}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert quiet.client.get(f"/inputs/{'0' * 64}").status_code == 404
