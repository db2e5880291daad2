"""Content credentials with a certificate chain of the test's own, read back with the library's reader."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from c2pa import Context, Reader
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from app.uploads.decoder.recipe_text import recipe_text
from workers.contract.blobs.names import OutputFormat
from workers.contract.errors import Misconfigured
from workers.settings import WorkerSettings
from workers.worker.c2pa import MADE_BY_A_MODEL, build_signer
from workers.worker.encode import CONTENT_TYPES, encode

RECIPE = '{"prompt": "a <house> & \\"garden\\""}'
DAY = timedelta(days=1)


def pem(key: Any, password: bytes = b"") -> str:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode())


def certificate(key: Any, issuer_key: Any, *, authority: bool, until: datetime | None = None) -> x509.Certificate:
    """Return the certificate of an authority, or of a signer whom the authority knows."""
    now = datetime.now(UTC)

    def name(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Stylize's tests")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    ) | {"decipher_only": False}
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("authority" if authority else "signer"))
        .issuer_name(name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(until or now + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def text(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


ROOT_KEY, KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ROOT, LEAF = certificate(ROOT_KEY, ROOT_KEY, authority=True), certificate(KEY, ROOT_KEY, authority=False)
TRUST = {"trust": {"trust_anchors": text(ROOT)}, "verify": {"verify_trust": True}}


def settings(chain: str | None = text(LEAF, ROOT), key: str | None = pem(KEY)) -> WorkerSettings:
    return WorkerSettings.model_validate({"worker_c2pa_certificate": chain, "worker_c2pa_key": key})


@pytest.fixture
def trusting() -> Iterator[Context]:
    with Context.from_dict(TRUST) as context:
        yield context


def picture(output_format: OutputFormat) -> bytes:
    return encode(Image.linear_gradient("L").resize((96, 64)).convert("RGB"), output_format, RECIPE)


def read_back(file: bytes, content_type: str, context: Context) -> tuple[str | None, dict[str, Any]]:
    with Reader(content_type, BytesIO(file), None, context) as reader:
        return reader.get_validation_state(), json.loads(reader.json())


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_signed_picture_says_that_a_model_made_it(output_format: OutputFormat, trusting: Context) -> None:
    seal, file, kind = build_signer(settings()), picture(output_format), CONTENT_TYPES[output_format]
    assert seal is not None
    signed = seal(file, kind)
    state, told = read_back(signed, kind, trusting)
    assert state == "Trusted", told
    claim = told["manifests"][told["active_manifest"]]
    assert claim["signature_info"]["alg"] == "Es256"
    assert claim["claim_generator_info"][0]["name"] == "Stylize"
    (action,) = claim["assertions"][0]["data"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", MADE_BY_A_MODEL)
    assert Image.open(BytesIO(signed)).tobytes() == Image.open(BytesIO(file)).tobytes()
    assert recipe_text(BytesIO(signed)).decode() == RECIPE, "the recipe was written before"
    spoiled = signed.replace(b"garden", b"street")
    assert spoiled != signed
    assert read_back(spoiled, kind, trusting)[0] == "Invalid"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_other_kinds_of_keys(key: Any, trusting: Context) -> None:
    seal = build_signer(settings(text(certificate(key, ROOT_KEY, authority=False), ROOT), pem(key)))
    assert seal is not None
    assert read_back(seal(picture("png"), "image/png"), "image/png", trusting)[0] == "Trusted"


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (None, pem(KEY), "STYLIZE_WORKER_C2PA_CERTIFICATE is not"),
        (text(LEAF), None, "STYLIZE_WORKER_C2PA_KEY is not"),
        ("nonsense", pem(KEY), "STYLIZE_WORKER_C2PA_CERTIFICATE holds no PEM"),
        (text(LEAF), "nonsense", "STYLIZE_WORKER_C2PA_KEY holds no"),
        (text(LEAF), pem(KEY, b"secret"), "STYLIZE_WORKER_C2PA_KEY holds no unencrypted"),
        (text(LEAF), pem(ROOT_KEY), "STYLIZE_WORKER_C2PA_KEY is not the key"),
        (text(ROOT), pem(ROOT_KEY), "STYLIZE_WORKER_C2PA_CERTIFICATE cannot sign"),
        (
            text(certificate(KEY, ROOT_KEY, authority=False, until=datetime.now(UTC) - DAY)),
            pem(KEY),
            "STYLIZE_WORKER_C2PA_CERTIFICATE is valid from",
        ),
    ],
)
def test_what_cannot_sign_is_named(chain: str | None, key: str | None, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as refused:
        build_signer(settings(chain, key))
    assert "PRIVATE KEY" not in str(refused.value)


def test_without_a_certificate_nothing_is_signed() -> None:
    assert build_signer(WorkerSettings()) is None


def test_certificate_and_key_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CERTIFICATE", text(LEAF, ROOT)), ("KEY", pem(KEY))):
        (tmp_path / name).write_text(value)
        monkeypatch.setenv(f"STYLIZE_WORKER_C2PA_{name}_FILE", str(tmp_path / name))
    read = WorkerSettings.read()
    assert build_signer(read) is not None
    assert pem(KEY).splitlines()[1] not in repr(read)
