"""Content credentials after C2PA: a signed statement inside a picture that a model made it.

A signature holds over the whole file, so the recipe is in it before. Signed files of equal pictures differ: each has a
signature and an id of its own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from io import BytesIO

from c2pa import Builder, C2paError, C2paSignerInfo, C2paSigningAlg, Context, Settings, Signer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from PIL import Image

from workers.contract.errors import Misconfigured
from workers.settings import WorkerSettings

CERTIFICATE, KEY = "STYLIZE_WORKER_C2PA_CERTIFICATE", "STYLIZE_WORKER_C2PA_KEY"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CURVES = {
    "secp256r1": C2paSigningAlg.ES256,
    "secp384r1": C2paSigningAlg.ES384,
    "secp521r1": C2paSigningAlg.ES512,
}
LEAST_RSA_BITS = 2048
NO_THUMBNAIL = {"builder": {"thumbnail": {"enabled": False}}}


@dataclass(frozen=True)
class ContentSigner:
    """Signs pictures with a certificate chain, the signer's first, and its private key, both PEM."""

    chain: bytes
    key: bytes
    algorithm: C2paSigningAlg

    def sign(self, file: bytes, content_type: str) -> bytes:
        """Return the picture file with content credentials. Raises C2paError."""
        info = C2paSignerInfo(self.algorithm, self.chain, self.key, None)
        signed = BytesIO()
        with (
            Settings.from_dict(NO_THUMBNAIL) as settings,
            Context(settings) as context,
            Signer.from_info(info) as signer,
            Builder(json.dumps(manifest(content_type)), context=context) as builder,
        ):
            builder.sign(signer, content_type, BytesIO(file), signed)
        return signed.getvalue()


def manifest(content_type: str) -> dict[str, object]:
    """Return what a picture's credentials say: that it was created by a trained model, with this software."""
    agent = {"name": "Stylize", "version": version("stylize")}
    created = {"action": "c2pa.created", "digitalSourceType": MADE_BY_A_MODEL, "softwareAgent": agent}
    return {
        "claim_generator_info": [agent],
        "format": content_type,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def seal_of(settings: WorkerSettings) -> Callable[[bytes, str], bytes]:
    """Return what signs the worker's pictures, tried once. Raises Misconfigured naming the variable that is wrong."""
    if not settings.worker_c2pa_certificate:
        raise Misconfigured(f"{KEY} is set, but {CERTIFICATE} is not")
    if not settings.worker_c2pa_key:
        raise Misconfigured(f"{CERTIFICATE} is set, but {KEY} is not")
    chain, key = settings.worker_c2pa_certificate, settings.worker_c2pa_key.get_secret_value()
    signer = _signer(chain)
    _check_key(key, signer)
    credentials = ContentSigner(chain.encode(), key.encode(), _algorithm(signer))
    try:
        credentials.sign(_blank(), "image/png")
    except C2paError as refused:
        raise Misconfigured(f"{CERTIFICATE} cannot sign pictures: {refused}") from refused
    return credentials.sign


def _signer(chain: str) -> Certificate:
    """Return the first certificate of a chain."""
    try:
        first = load_pem_x509_certificates(chain.encode())[0]
    except ValueError as fault:
        raise Misconfigured(f"{CERTIFICATE} holds no PEM certificates: {fault}") from fault
    now = datetime.now(UTC)
    if not first.not_valid_before_utc <= now <= first.not_valid_after_utc:
        raise Misconfigured(
            f"{CERTIFICATE} is valid from {first.not_valid_before_utc} to {first.not_valid_after_utc}, not now"
        )
    return first


def _check_key(text: str, signer: Certificate) -> None:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:  # TypeError: it is encrypted
        raise Misconfigured(f"{KEY} holds no unencrypted PEM private key: {fault}") from fault
    if key.public_key() != signer.public_key():
        raise Misconfigured(f"{KEY} is not the key of the first certificate in {CERTIFICATE}")


def _algorithm(signer: Certificate) -> C2paSigningAlg:
    match signer.public_key():
        case EllipticCurvePublicKey(curve=curve) if curve.name in CURVES:
            return CURVES[curve.name]
        case RSAPublicKey(key_size=bits) if bits >= LEAST_RSA_BITS:
            return C2paSigningAlg.PS256
        case Ed25519PublicKey():
            return C2paSigningAlg.ED25519
    raise Misconfigured(f"{CERTIFICATE} must have a key on P-256, P-384, P-521 or Ed25519, or RSA of 2048 bits or more")


def _blank() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


Seal = Callable[[bytes, str], bytes]
"""Returns a picture file of a content type with content credentials."""


def build_signer(settings: WorkerSettings) -> Seal | None:
    """Return what signs pictures, None when no certificate is configured. Raises Misconfigured."""
    if not settings.worker_c2pa_certificate and not settings.worker_c2pa_key:
        return None
    try:
        credentials = import_module("workers.worker.c2pa")
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"STYLIZE_WORKER_C2PA_CERTIFICATE is set, but {missing.name} is not installed: "
            "pip install 'stylize[credentials]'"
        ) from missing
    seal: Seal = credentials.seal_of(settings)
    return seal
