"""A TLS door before a real Redis: the bundled server is built without it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def write_certificate(file: Path, host: str = "localhost") -> Path:
    """Write a key and its self-signed certificate for a host into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


@contextmanager
def tls_door(socket_path: Path, certificate: Path) -> Iterator[int]:
    """Give the port of a TLS server that passes everything on to a Redis at a socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                threading.Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

    def relay(plain: socket.socket) -> None:
        with (
            suppress(OSError),  # the caller refuses the certificate
            context.wrap_socket(plain, server_side=True) as caller,
            socket.socket(socket.AF_UNIX) as redis,
        ):
            redis.connect(str(socket_path))
            threading.Thread(target=copy, args=(redis, caller), daemon=True).start()
            copy(caller, redis)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
