"""What the properties of the document mean, where the model itself does not say: a sentence, and often an example.

Properties of the same name mean the same everywhere, unless their schema says it more exactly here.
"""

from typing import Any, NamedTuple


class Text(NamedTuple):
    """What a property means, and a value that it can have; None for no example."""

    description: str
    example: Any = None


DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
JOB = "0f9ad1f54b3c2e6d8a7b6c5d4e3f2a1b"
MOMENT = "2026-03-01T12:00:00Z"

SHARED: dict[str, Text] = {
    "id": Text("its id, part of its addresses", JOB),
    "method": Text("the technique", "ip-adapter"),
    "model": Text("id of the base model", "sdxl"),
    "title": Text("its name for people", "Stable Diffusion XL"),
    "kind": Text("what it is for"),
    "licence": Text("on which terms it may be used"),
    "state": Text("how far it is"),
    "priority": Text("`interactive` goes before `batch`"),
    "created_at": Text("when it was accepted", MOMENT),
    "started_at": Text("when a worker first began it; null before that", MOMENT),
    "finished_at": Text("when it became final; null before that", MOMENT),
    "progress": Text("how far it is"),
    "links": Text("where to go from here"),
    "seed": Text("the same seed gives the same picture", 7),
    "strength": Text("how much style: 0 none, 1 all", 0.8),
    "prompt": Text("what to draw", "a house by a lake"),
    "negative_prompt": Text("what to keep out", "blurry"),
    "style_images": Text("sha256 of each style reference, as `GET /v1/inputs/{sha256}` takes it"),
    "style_weights": Text("one number per style image; none for 1 each"),
    "content_image": Text("sha256 of the picture that is painted anew; null without one", DIGEST),
    "control_image": Text("sha256 of the picture that the drawing follows; null without one", DIGEST),
    "mask_image": Text("sha256 of the mask: white is repainted of the content image; null without one", DIGEST),
    "num_images": Text("how many pictures", 1),
    "width": Text("in pixels", 1024),
    "height": Text("in pixels", 1024),
    "steps": Text("denoising steps", 30),
    "guidance_scale": Text("classifier-free guidance", 5.0),
    "params": Text("the technique's own parameters"),
    "output_format": Text("the pictures' format", "png"),
    "sha256": Text("sha256 of the file", DIGEST),
    "self": Text("the address of this very thing", f"/jobs/{JOB}"),
    "detail": Text("what happened, for people"),
    "name": Text("its name", "my neon"),
    "jobs": Text("the page's jobs"),
    "cursor": Text("pass it as `cursor` for the next page; null on the last", "17"),
    "unreadable": Text("ids of jobs of another release, which this one cannot show"),
    "cells": Text("one for each job"),
    "base": Text("the architecture"),
    "label": Text("what is written below its picture", "ip-adapter, seed 7"),
    "object": Text("what it is, in OpenAI's words"),
}
OWN: dict[str, dict[str, Text]] = {
    "Attempt": {
        "at": Text("when it was sent", MOMENT),
        "outcome": Text("what became of it"),
        "status": Text("the receiver's HTTP status; null when it gave none", 200),
        "detail": Text("why it failed; empty when it did not"),
        "seconds": Text("how long it took", 0.3),
        "next_at": Text("when it is tried again; null when it is not", MOMENT),
    },
    "CacheView": {"style": Text("whether what the method needs of the style was computed before: `hit`")},
    "CellSummaryView": {"job": Text("id of its job; null once that is kept no longer", JOB)},
    "CellView": {"job": Text("its job; null once that is kept no longer")},
    "ComparisonLinksView": {"self": Text("the comparison's address; DELETE cancels or deletes", f"/comparisons/{JOB}")},
    "ComparisonProgressView": {
        "finished": Text("jobs that are final", 3),
        "total": Text("jobs of the comparison", 4),
        "fraction": Text("how far all of them are together", 0.8),
    },
    "ComparisonsView": {"comparisons": Text("the page's comparisons, newest first")},
    "ControlMapView": {
        "url": Text("where it is, from the root of this service or absolute; signed where the host signs"),
        "content_type": Text("its media type", "image/png"),
        "sha256": Text("sha256 of the file; also its ETag", DIGEST),
    },
    "Cost": {
        "row_passes": Text("evaluations of the denoiser per step and picture", 2.0),
        "style_passes": Text("evaluations per step to prepare each style reference", 0.0),
        "content_passes": Text("evaluations per step to prepare the content image", 0.0),
    },
    "DeliveriesView": {"deliveries": Text("the attempts, the oldest first")},
    "EvaluateRequest": {
        "strengths": Text("the strengths that are tried"),
        "cases": Text("how many cases are drawn", 64),
    },
    "FailureView": {
        "type": Text("why, as a stable URI: `code` after `urn:stylize:job:`"),
        "code": Text("why, in one stable word", "out-of-memory"),
        "detail": Text("why, for people", "the picture does not fit the device's memory"),
    },
    "FaultView": {"detail": Text("what is wrong there")},
    "HealthView": {
        "status": Text("whether jobs can be run", "ready"),
        "checks": Text("each part: `ok`, or what is wrong"),
    },
    "ImageView": {
        "url": Text("where it is, from the root of this service or absolute; signed where the host signs"),
        "content_type": Text("its media type", "image/png"),
        "sha256": Text("sha256 of the file; also its ETag", DIGEST),
    },
    "Inputs": {
        "driven_by": Text("what says what is drawn: the prompt or the content image"),
        "references": Text("least and most style images"),
        "content_image": Text("whether it takes a content image"),
        "mask_image": Text("whether it takes a mask of what is repainted of the content image"),
        "controls": Text("the models that a control image may steer it by"),
        "instead_of_references": Text("the parameter that may stand for the style images; null where none may"),
        "needs": Text("the parameter without which it does not run; null where there is none"),
    },
    "JobView": {
        "images": Text("the finished pictures; none before the job has succeeded"),
        "error": Text("why it failed; null unless it did"),
        "gpu_seconds": Text("how long it held the device; null before it has succeeded", 1.5),
        "cache": Text("what was reused"),
        "attempts": Text("how many workers have begun it", 1),
    },
    "Licence": {
        "name": Text("the licence's name", "CreativeML Open RAIL++-M"),
        "url": Text("where its text is; null when it is in no public place"),
        "gated": Text("whether the publisher gives the weights only to who has accepted it"),
        "non_commercial": Text("whether it forbids commercial use"),
        "notice": Text("what must be said where its results are shown"),
    },
    "LinksView": {"events": Text("the job's stream of events", f"/jobs/{JOB}/events")},
    "MethodView": {
        "name": Text("what `method` is to be", "ip-adapter"),
        "aliases": Text("other names that `method` takes for it"),
        "family": Text("how it works"),
        "version": Text("grows whenever the same request would draw another picture", 1),
        "title": Text("its name for people", "IP-Adapter"),
        "summary": Text("what it does, in a sentence"),
        "paper": Text("the publication it follows"),
        "experimental": Text("whether its authors did not try it on any of these base models"),
        "inputs": Text("what it takes"),
        "defaults": Text("what a request gets when it does not say, by architecture"),
        "cost": Text("what a request costs"),
        "weights": Text("ids of what must be installed beside the base model"),
        "rights": Text("notes on licence and patents"),
    },
    "MethodsView": {"methods": Text("all techniques of this release")},
    "ModelView": {"default": Text("whether requests that name no model get it")},
    "ModelsView": {"models": Text("the base models that this host serves, the default first")},
    "NamedModelView": {"id": Text("what `model` may be", "sdxl"), "owned_by": Text("always this service")},
    "InstalledModelView": {"id": Text("its name in the catalogue", "sdxl")},
    "LicenceView": {"id": Text("the model's name in the catalogue", "sdxl")},
    "Paper": {
        "title": Text("its title"),
        "authors": Text("its authors"),
        "venue": Text("where it was published, and when"),
        "url": Text("where it can be read"),
    },
    "PictureView": {
        "b64_json": Text("the picture's file in base64, unless an address was asked for"),
        "url": Text("where the picture is, where an address was asked for"),
    },
    "PicturesView": {
        "created": Text("when it was answered, as Unix time", 1772366400),
        "data": Text("the pictures"),
        "size": Text("width and height in pixels"),
    },
    "ProblemView": {
        "title": Text("what kind of error it is, for people", "The request is invalid"),
        "type": Text("what kind of error it is: stable, to be told apart by programs"),
        "status": Text("the HTTP status", 422),
        "detail": Text("what is wrong, for people", "prompt: is required"),
        "errors": Text("each thing that is wrong with the request"),
    },
    "Progress": {
        "stage": Text("what is being done"),
        "step": Text("steps that are done", 12),
        "fraction": Text("how far the whole job is", 0.4),
    },
    "RecommendationView": {"reason": Text("what was measured")},
    "SecretView": {"secret": Text("for any Standard Webhooks library")},
    "StyleLinksView": {
        "self": Text("the style's address; DELETE deletes it", f"/styles/{JOB}"),
        "precompute": Text("POST here prepares it", f"/styles/{JOB}/precompute"),
    },
    "StyleReference": {
        "sha256": Text("sha256 of the picture, as `GET /v1/inputs/{sha256}` takes it", DIGEST),
        "weight": Text("how much it counts beside the others", 1.0),
    },
    "StyleView": {"references": Text("its pictures"), "id": Text("what `style_id` is to be", JOB)},
    "StylesView": {"styles": Text("the page's styles")},
    "Timings": {
        "queue": Text("seconds waited for a worker", 0.2),
        "load": Text("seconds for loading the model", 0.0),
        "prepare": Text("seconds for preparing style and content", 0.4),
        "denoise": Text("seconds of the denoising steps", 4.1),
        "decode": Text("seconds from latents to pixels", 0.3),
        "publish": Text("seconds for encoding and storing the pictures", 0.1),
    },
    "TrainRequest": {"images": Text("sha256 of each picture that is learned from")},
    "WebhookView": {
        "type": Text("what happened"),
        "timestamp": Text("when it happened", MOMENT),
        "data": Text("the job as `GET /v1/jobs/{id}` shows it"),
    },
}
PARAMETERS: dict[str, str] = {
    "limit": "how many a page holds at most",
    "number": "which picture of the job: 0 is the first",
    "last-event-id": "the id of the last event that was seen: what came after it is told",
    "model": "the id of a base model or a method",
}
FIELDS: dict[str, str] = {
    "method": "one or more techniques",
    "seed": "one or more seeds; without any one is drawn for all",
    "strength": "one or more strengths",
    "style_image": "the references: PNG, JPEG or WebP",
    "prompt": "what to draw",
    "n": "how many pictures",
    "output_format": "the pictures' format",
    "response_format": "the pictures themselves in base64, or their addresses",
}


def describe(document: dict[str, Any]) -> None:
    """Say of each property, parameter and field what it means, where the document does not yet."""
    for name, schema in document["components"]["schemas"].items():
        for prop, shown in schema.get("properties", {}).items():
            if "prefixItems" in shown:
                shown.setdefault("items", shown["prefixItems"][0])  # so that older readers know what is in it
            text = OWN.get(name, {}).get(prop) or SHARED.get(prop)
            if text and "description" not in shown:
                shown["description"] = text.description
                if text.example is not None and not shown.keys() & {"examples", "enum", "const"}:
                    shown["examples"] = [text.example]
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in PARAMETERS:
                    parameter.setdefault("description", PARAMETERS[parameter["name"]])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for prop, shown in content["schema"].get("properties", {}).items():
                    if prop in FIELDS:
                        shown.setdefault("description", FIELDS[prop])
