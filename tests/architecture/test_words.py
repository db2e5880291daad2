"""One word, one thing: class names are unique, and words of ours that have a better one do not come back."""

import ast
import re
from collections import defaultdict

import pytest

from tests.architecture.source import FILES, ROOT, tree_of

SAME_CONCEPT = re.compile(r"app/(client|schemas)/")
"""The client reads the documents that the service writes: the same names mean the same JSON."""
DOCUMENTS = ("app/client/", "app/schemas/", "workers/contract/", "model_store/catalogue/")
BANNED = {
    "census": "queue_stats",
    "outlook": "estimate",
    "company": "batch_key",
    "doorbell": "notifier",
    "zygote": "DecoderServer",
    "deliverer": "WebhookDispatcher",
    "mold": "MessageTemplate",
    "errand": "RunningJob",
    "holding": "RunningJob",
    "forgetter": "CacheInvalidator",
    "stylist": "Engine",
    "previewer": "PreviewPublisher",
    "lineup": "ReferenceRows",
    "insist": "retry_verdict",
    "patiently": "tenacity",
    "newjob": "Job",
    "spanner": "span",
}


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {
        name: where
        for name, where in places.items()
        if len(where) > 1 and not (all(w.startswith(DOCUMENTS) for w in where) and SAME_CONCEPT.search(" ".join(where)))
    } == {}


@pytest.mark.parametrize("word", BANNED)
def test_a_private_word_does_not_come_back(word: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        for name in re.findall(r"[A-Za-z_]\w*", path.read_text())
        if word in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_") or name.lower() == word
    }
    assert found == set(), f"the word is {BANNED[word]}"
