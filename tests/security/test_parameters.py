"""Parameters as a weapon: each request is refused or within its price; nothing said is ever logged."""

import itertools
import json
from typing import Any

from app.settings import GatewaySettings
from app.uploads.cost import cost
from tests.support.gateway import Gateway
from workers.contract.jobs.models import StylizeRequest
from workers.techniques import registry

BOUNDS = {
    "steps": ("0", "1", "150", "151", "-1", "1e2", "NaN"),
    "num_images": ("0", "1", "8", "9"),
    "width": ("0", "64", "2048", "2056", "65", "99999999999999999999"),
    "height": ("64", "2048"),
    "guidance_scale": ("-0.1", "0", "30", "30.1", "inf"),
    "strength": ("-0.1", "0", "1", "1.1", "nan"),
    "seed": ("-1", "0", str(2**63 - 1), str(2**63)),
}
EXTREMES = [
    dict(zip(("steps", "num_images", "width", "height"), values, strict=True))
    for values in itertools.product(("1", "150"), ("1", "8"), ("64", "2048"), ("64", "1536"))
]


def test_every_boundary_is_refused_or_within_the_price(gateway: Gateway) -> None:
    ceiling = GatewaySettings.model_fields["gateway_max_cost"].default
    singles = [{name: value} for name, values in BOUNDS.items() for value in values]
    statuses = set()
    for fields in singles + EXTREMES:
        answer = gateway.post(fields)
        statuses.add(answer.status_code)
        assert answer.status_code in (202, 422), answer.text
        if answer.status_code == 202:
            request = StylizeRequest.model_validate(answer.json()["recipe"])
            assert cost(request, registry.spec(request.method)) <= ceiling
    assert statuses == {202, 422}


def test_params_are_json_of_the_technique_and_nothing_else(gateway: Gateway) -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep}
    for text in (
        "null",
        "1",
        '"a"',
        "[]",
        "{,}",
        '{"a":1',
        json.dumps(deep),
        '{"leak_scale": 1e999}',
        '{"__proto__": 1}',
    ):
        answer = gateway.post({"params": text})
        assert answer.status_code == 422, text
        assert answer.json()["errors"][0]["pointer"].startswith("#/params")


def test_neither_prompts_nor_keys_reach_the_log(gateway: Gateway) -> None:
    canary = "zanzibar-canary"
    gateway.accepted({"prompt": canary, "negative_prompt": canary}, **{"Idempotency-Key": canary})
    gateway.post({"prompt": canary, "steps": "0"})
    gateway.post({"prompt": canary + "\x07"})
    gateway.post({canary: canary})
    gateway.client.get(f"/jobs/{canary}?signature={canary}")
    assert canary not in gateway.log.read_text()
