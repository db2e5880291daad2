"""The one reading of a Redis address, redis-py's own: every client connects with what it gives, or none starts.

Left to read the address themselves, Celery would take any certificate of a rediss:// server and know no ?db= word.
"""

import re
import ssl
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from redis import UnixDomainSocketConnection
from redis.connection import parse_url

from workers.contract.errors import Misconfigured

REDIS_URL = "STYLIZE_REDIS_URL"
SCHEMES = ("redis", "rediss", "unix")
WORDS = ("db", "username", "password")
TLS_WORDS = (
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_min_version", "ssl_ciphers"),
)
CERTIFICATES = {f"{prefix}{word}": word for word in ("none", "optional", "required") for prefix in ("", "cert_")}
"""How ssl_cert_reqs may be spelled, in any case: as redis-py does, or as Celery does."""
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_redis_url(url: str, variable: str = REDIS_URL) -> dict[str, Any]:
    """Return the keywords of redis-py's connection pool for redis://, rediss:// or unix://.

    The certificate of a rediss:// server is verified unless ?ssl_cert_reqs=none says otherwise.
    Raises Misconfigured naming the variable and never a password.
    """
    try:
        words = _read_words(url)
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        if options.get("db", 0) < 0:
            raise ValueError("the number of a database is 0 or more")
        return options | (_tls_options(words) if url.startswith("rediss:") else {})
    except ValueError as fault:
        raise Misconfigured(f"{variable}: {fault}") from fault


def build_broker_settings(url: str) -> dict[str, Any]:
    """Return Celery's `broker_url` and `broker_use_ssl` for the Redis of an address. Raises Misconfigured."""
    options = parse_redis_url(url)
    user, password, database = options.get("username", ""), options.get("password", ""), options.get("db", 0)
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    if options.get("connection_class") is UnixDomainSocketConnection:
        path = quote(options["path"])
        return {"broker_url": f"redis+socket://{credentials}{path}?virtual_host={database}", "broker_use_ssl": None}
    host, port = quote(options.get("host", "localhost"), safe=""), options.get("port", 6379)
    tls = {word: options[word] for word in TLS_WORDS if word in options}
    return {"broker_url": f"redis://{credentials}{host}:{port}/{database}", "broker_use_ssl": tls or None}


def _read_words(url: str) -> dict[str, str]:
    """Return the words behind the ?. Raises ValueError for what redis-py would overlook or fail on later."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ValueError("the address must begin with redis://, rediss:// or unix://")
    parts = _split(url)
    known = (*WORDS, *TLS_WORDS) if parts.scheme == "rediss" else WORDS
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    words = dict(pairs)
    if unknown := sorted(words.keys() - set(known)):
        raise ValueError(f"?{unknown[0]}= is none of the words of {parts.scheme}://: {', '.join(known)}")
    if empty := sorted(word for word, value in pairs if not value):
        raise ValueError(f"?{empty[0]}= is empty")
    if len(words) < len(pairs):
        raise ValueError("a word behind the ? is there twice")
    return words


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  reading it checks it
    except ValueError:  # its text would show the password
        raise ValueError(
            "host and port cannot be read; in a password : / ? # @ % are %3A %2F %3F %23 %40 %25"
        ) from None
    if parts.fragment or url.endswith("#"):
        raise ValueError("# is written %23 in a password or path")
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.strip("/"):
            raise ValueError("the path of a socket follows three slashes: unix:///PATH")
    elif not re.fullmatch(r"/?|/\d+", parts.path):
        raise ValueError("behind the host only the number of a database can follow: /0")
    return parts


def _tls_options(words: dict[str, str]) -> dict[str, Any]:
    """Return the words about TLS as both clients take them. Raises ValueError when no connection can be made so."""
    asked = words.get("ssl_cert_reqs", "required").lower()
    if asked not in CERTIFICATES:
        raise ValueError("?ssl_cert_reqs= is required, optional or none")
    options: dict[str, Any] = {"ssl_cert_reqs": CERTIFICATES[asked]}
    if (checked := words.get("ssl_check_hostname", "true").lower()) not in TRUTHS:
        raise ValueError("?ssl_check_hostname= is true or false")
    options["ssl_check_hostname"] = TRUTHS[checked]
    try:
        _try_context(words)
    except (OSError, ValueError, TypeError) as fault:
        raise ValueError(f"no TLS connection can be made with its ssl_ words: {fault}") from fault
    return options


def _try_context(words: dict[str, str]) -> None:
    """Read the files that the words name, as each connection will."""
    context = ssl.create_default_context()
    authorities = [words.get(word) for word in ("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data")]
    if any(authorities):
        context.load_verify_locations(*authorities)
    if "ssl_certfile" in words or "ssl_keyfile" in words:
        # Without a password OpenSSL would ask the terminal for one.
        password = words.get("ssl_password", "")
        context.load_cert_chain(words.get("ssl_certfile", ""), words.get("ssl_keyfile"), password)
    if "ssl_min_version" in words:
        context.minimum_version = int(words["ssl_min_version"])  # type: ignore[assignment]
    if "ssl_ciphers" in words:
        context.set_ciphers(words["ssl_ciphers"])
