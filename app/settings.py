"""The gateway's settings: STYLIZE_GATEWAY_* beside what every process needs."""

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from app.urls import TargetRefused, is_public_url, origin_of, page_origin
from model_store.catalogue import base_of, entries
from model_store.catalogue.entry import Base
from workers.contract.runtime.setting_faults import closest_name
from workers.contract.runtime.settings import Settings

MEGABYTE = 1_000_000


class GatewaySettings(Settings):
    """What the gateway needs to know: its address and the limits of what it takes in."""

    process: ClassVar[str] = "GATEWAY"

    gateway_host: str = Field("127.0.0.1", description="address to listen on")
    gateway_port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    gateway_public_url: str | None = Field(
        None, description="how callers reach the gateway; links are relative without it"
    )
    gateway_url_key: SecretStr | None = Field(
        None, min_length=32, description="signs the addresses of pictures, which then expire; unsigned without it"
    )
    gateway_url_key_previous: SecretStr | None = Field(
        None, min_length=32, description="the key before: addresses that it signed are good until they expire"
    )
    gateway_url_seconds: int = Field(3600, ge=1, le=604800, description="a signed address of a picture lives this long")
    gateway_body_bytes: int = Field(125 * MEGABYTE, ge=1000, le=10_000 * MEGABYTE, description="largest request body")
    gateway_form_seconds: float = Field(30.0, gt=0, le=3600, description="a request body must arrive within this time")
    gateway_header_seconds: float = Field(
        10.0, gt=0, le=3600, description="request headers must arrive within this time"
    )
    gateway_connections: int = Field(2048, ge=1, le=1_000_000, description="connections at the same time")
    gateway_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="further names by which callers reach the gateway, such as pics.example.com; * takes any"
    )
    gateway_cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="origins whose pages may use the API from a browser, such as https://app.example.com; * lets any "
        "page read, and work with a key that it brings",
    )
    gateway_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port on which /metrics is served, and nothing else; without it with the API"
    )
    gateway_access_log: bool = Field(
        True, description="a line in the log for each request; `stylize up` writes none unless this is set"
    )
    gateway_uploads: int = Field(64, ge=1, le=100_000, description="requests with a body served at the same time")
    gateway_upload_bytes: int = Field(
        512 * MEGABYTE, ge=1000, le=1_000_000 * MEGABYTE, description="memory for all uploads at the same time"
    )
    gateway_owner_bytes: int = Field(
        20_000 * MEGABYTE,
        ge=1000,
        le=10**15,
        description="pictures that the jobs and styles of one key may name; refused with 507",
    )
    gateway_free_bytes: int = Field(
        500 * MEGABYTE,
        ge=0,
        le=10**15,
        description="room that uploads leave on the disk of the blobs; refused with 507 beyond it",
    )
    gateway_send_bytes: int = Field(
        64 * MEGABYTE,
        ge=1_000_000,
        le=1_000_000 * MEGABYTE,
        description="memory for pictures being sent; a caller gets at most a quarter",
    )
    gateway_send_seconds: float = Field(
        30.0, gt=0, le=600, description="a caller that reads nothing of an answer for so long is cut off"
    )
    gateway_blob_seconds: float = Field(30.0, gt=0, le=600, description="a call of the blob store ends within this")
    gateway_decoders: int = Field(
        default_factory=lambda: max(1, min(8, os.cpu_count() or 1)), ge=1, le=64, description="pictures decoded at once"
    )
    gateway_decode_seconds: float = Field(10.0, gt=0, le=3600, description="a picture must be decoded within this time")
    gateway_max_cost: float = Field(
        20000.0, gt=0, le=1e12, description="dearest request, in UNet evaluations of one 512 x 512 picture"
    )
    gateway_allow_anonymous: bool = Field(False, description="serve other machines although there are no API keys")
    gateway_webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins that webhooks may go to although they are not public, such as http://10.0.0.7:9000"
    )
    gateway_webhook_pause_seconds: float = Field(
        5.0, gt=0, le=3600, description="before a webhook is tried again the first time; grows fourfold"
    )
    gateway_limits_url: str = Field(
        "memory://",
        description="where jobs per key are counted; redis://... shares the count among gateways, and while it is away "
        "keys with a rate get 503",
    )
    gateway_wait_seconds: int = Field(120, ge=0, le=3600, description="longest wait that `Prefer: wait` gets")
    gateway_heartbeat_seconds: float = Field(10.0, gt=0.1, le=60, description="pause between signs of life of a stream")
    gateway_streams_per_caller: int = Field(
        32, ge=1, le=100_000, description="streams and waits of one caller at the same time"
    )
    gateway_streams: int = Field(500, ge=1, le=100_000, description="streams and waits of all callers at the same time")
    gateway_grace_seconds: int = Field(10, ge=0, le=3600, description="time for running requests to finish at a stop")

    @field_validator("gateway_public_url")
    @classmethod
    def _without_slash(cls, url: str | None) -> str | None:
        if url and not is_public_url(url):
            raise ValueError("must be http://HOST or https://HOST[:PORT][/PATH], such as https://pics.example.com")
        return url.rstrip("/") if url else None

    @field_validator("gateway_allowed_hosts", mode="before")
    @classmethod
    def _host_names(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("gateway_cors_origins", mode="before")
    @classmethod
    def _page_origins(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(map(page_origin, filter(None, map(str.strip, parts)))) if isinstance(parts, list) else parts
        except TargetRefused as fault:
            raise ValueError(f"must be *, http://HOST[:PORT] or https://HOST[:PORT]: {fault}") from fault

    @field_validator("gateway_webhook_allow", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        try:
            return (
                tuple(origin_of(part.strip()) for part in parts if part.strip()) if isinstance(parts, list) else parts
            )
        except TargetRefused as fault:
            raise ValueError(f"must be origins, http://HOST[:PORT] or https://HOST[:PORT]: {fault}") from fault

    @model_validator(mode="after")
    def _has_two_ports(self) -> "GatewaySettings":
        if self.gateway_metrics_port == self.gateway_port:
            raise ValueError("STYLIZE_GATEWAY_METRICS_PORT must be another port than STYLIZE_GATEWAY_PORT")
        return self

    @model_validator(mode="after")
    def _serves_known_models(self) -> "GatewaySettings":
        if not self.models:
            raise ValueError("STYLIZE_MODELS names no base model; name at least one")
        if unknown := [model for model in self.models if not _known(model, self.model_dir)]:
            served = (model for model in entries(self.model_dir) if _known(model, self.model_dir))
            near = closest_name(unknown[0], served, "")
            meant = f" (did you mean {near}?)" if near else ""
            raise ValueError(
                f"STYLIZE_MODELS names what is no base model that is served here: {', '.join(unknown)}{meant}; "
                "`stylize models list` shows all, `stylize models add` registers your own"
            )
        return self

    def bases(self) -> dict[str, Base]:
        """Return the served models and the architecture of each, the default first."""
        return {model: base_of(model, self.model_dir) for model in self.models}


def _known(model: str, store: Path) -> bool:
    try:
        base_of(model, store)
    except KeyError:
        return False
    return True
