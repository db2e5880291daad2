"""Who can reach the gateway without a key: nobody but this machine, unless the operator says otherwise."""

import logging
from ipaddress import ip_address

from app.auth.key_store import KeyStore
from app.settings import GatewaySettings
from workers.contract.errors import Misconfigured, StoreUnavailable
from workers.contract.runtime.command_line import command_line

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listening address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keys_always(settings: GatewaySettings) -> bool:
    """Return whether a key is needed even when there is none."""
    return not (is_loopback(settings.gateway_host) or settings.gateway_allow_anonymous)


def check_exposure(settings: GatewaySettings, store: KeyStore) -> None:
    """Say what it means that there are no keys. Raises Misconfigured where that would open the service to others."""
    try:
        if store.all():
            return
    except StoreUnavailable:
        return  # requests will tell: where others can come in, none is served without a key
    create_key = command_line("keys", "create", "me", data_dir=settings.data_dir)
    if keys_always(settings):
        raise Misconfigured(
            f"there are no API keys, so the gateway listens on loopback only, not on {settings.gateway_host}: "
            f"make one with `{create_key}`, or set STYLIZE_GATEWAY_ALLOW_ANONYMOUS=true"
        )
    where = "this machine" if is_loopback(settings.gateway_host) else "anybody who can reach it"
    log.warning("there are no API keys: the service is open to %s (`%s` closes it)", where, create_key)
