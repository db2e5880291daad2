# Stylize as two images: `gateway` (no torch; also runs the sweeper) and `worker` (CUDA through torch's own wheels).
#   docker build --target gateway --tag stylize-gateway .
#   docker build --target worker --tag stylize-worker .
# Versions and the sha256 of each file come from deploy/locks. Behind a mirror: --build-arg PIP_INDEX_URL=...; what is given
# stays out of the images, whose last stages know nothing of it.
ARG PYTHON=docker.io/library/python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${PYTHON} AS source
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /venv
# Dependencies first: changed code or text does not install them again.
COPY deploy/locks locks

FROM source AS gateway-source
# Small: no compiled copies, and of the services that botocore describes only those that S3 needs.
RUN pip --python /venv/bin/python install --no-compile --require-hashes --no-deps --requirement locks/gateway.lock \
    && find /venv/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
COPY . .
# A gateway runs no model: weights that the distribution carries are not for it.
RUN pip --python /venv/bin/python install --no-compile --no-deps --force-reinstall . \
    && find /venv -name '*.safetensors' -delete

FROM source AS worker-source
# torch, whose build is the host's choice, comes by its version alone, and with it what that build asks for.
RUN pip --python /venv/bin/python install --require-hashes --no-deps --requirement locks/worker.lock \
    && pip --python /venv/bin/python install torch==2.13.0
COPY . .
RUN pip --python /venv/bin/python install --no-deps --force-reinstall .

FROM ${PYTHON} AS runtime
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin stylize \
    && install --directory --owner=10001 --group=10001 /data /models
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STYLIZE_BLOB_URL=file:/data/blobs \
    STYLIZE_MODEL_DIR=/models \
    STYLIZE_LOG_FORMAT=json
WORKDIR /data
USER 10001:10001

FROM runtime AS gateway
COPY --from=gateway-source /venv /venv
# a body comes in buffers of up to 256 KB: keep freed memory for the next instead of a page fault per 4 KB
ENV STYLIZE_GATEWAY_HOST=0.0.0.0 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    MALLOC_MMAP_THRESHOLD_=2097152
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-m", "deploy.compose.healthcheck", "http://127.0.0.1:8000/livez"]
CMD ["python", "-m", "app"]

FROM runtime AS worker
COPY --from=worker-source /venv /venv
ENV STYLIZE_WORKER_METRICS_HOST=0.0.0.0 \
    STYLIZE_WORKER_METRICS_PORT=9100
EXPOSE 9100
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m \
    CMD ["python", "-m", "deploy.compose.healthcheck", "http://127.0.0.1:9100/metrics", "stylize_models_resident"]
CMD ["python", "-m", "workers"]
