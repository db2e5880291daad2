"""Whole answers, as examples of the schemas: what a job and an error look like."""

from typing import Any

from app.api.document.texts import DIGEST, JOB, MOMENT

PROBLEM = {
    "type": "urn:stylize:problem:invalid-request",
    "title": "The request is invalid",
    "status": 422,
    "detail": "steps: must be a whole number from 1 to 150",
    "errors": [{"pointer": "#/steps", "detail": "must be a whole number from 1 to 150"}],
}
RECIPE = {
    "method": "ip-adapter",
    "model": "sdxl",
    "prompt": "a house by a lake",
    "style_images": [DIGEST],
    "seed": 7,
    "width": 1024,
    "height": 1024,
    "steps": 30,
    "guidance_scale": 5.0,
    "strength": 0.8,
}
QUEUED: dict[str, Any] = {
    "id": JOB,
    "kind": "stylize",
    "state": "queued",
    "method": "ip-adapter",
    "model": "sdxl",
    "priority": "interactive",
    "created_at": MOMENT,
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "progress": None,
    "preview": None,
    "queue": {"position": 0, "eta_start_seconds": 0.5, "eta_finish_seconds": 6.0},
    "images": [],
    "error": None,
    "timings": None,
    "gpu_seconds": None,
    "cache": {"style": "none"},
    "attempts": 0,
    "recipe": RECIPE,
    "links": {"self": f"/jobs/{JOB}", "events": f"/jobs/{JOB}/events", "cancel": f"/jobs/{JOB}"},
}
EXAMPLES: dict[str, dict[str, Any]] = {"ProblemView": PROBLEM, "JobView": QUEUED}


def show_examples(document: dict[str, Any]) -> None:
    """Give the schemas that most answers have a whole example."""
    for name, example in EXAMPLES.items():
        document["components"]["schemas"][name]["examples"] = [example]
