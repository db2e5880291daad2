"""An upload taken in and no more: the gateway's own form reader, limits and memory, then an answer."""

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from app.capabilities import Capabilities
from app.settings import GatewaySettings
from app.uploads.buffers import UploadMemory
from app.uploads.form_schema import build_stylize_schema
from app.uploads.multipart import FormReader, boundary_of, read
from tests.bench._bare import serve


def main() -> None:
    settings = GatewaySettings.read()
    memory = UploadMemory(requests=settings.gateway_uploads, size=settings.gateway_upload_bytes)
    schema = build_stylize_schema(Capabilities.of(settings.bases(), settings.model_dir))

    async def take_in(scope: Scope, receive: Receive) -> None:
        with memory.entered(None) as share:
            reader = FormReader(schema, share, boundary_of(Headers(scope=scope).get("content-type")))
            try:
                await read(receive, reader, limit=settings.gateway_body_bytes, seconds=settings.gateway_form_seconds)
                assert reader.form.uploads()
            finally:
                reader.form.close()

    serve(take_in)


if __name__ == "__main__":
    main()
