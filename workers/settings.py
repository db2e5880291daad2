"""The GPU worker's settings."""

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from workers.contract.runtime.settings import Settings

WeightStorage = Literal["full", "float8", "torchao-float8", "torchao-int8"]


class WorkerSettings(Settings):
    """Settings of one worker process: one device, one resident base model."""

    process: ClassVar[str] = "WORKER"

    worker_id: str | None = Field(None, description="name of this worker; default: host and process id")
    worker_device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    worker_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on CUDA, float32 on the CPU"
    )
    worker_transformer_weights: WeightStorage = Field(
        "full",
        description="how weights of transformers (FLUX) are kept: full, or, with a loss that every picture names, "
        "float8, torchao-float8, torchao-int8",
    )
    worker_encoders: Literal["device", "host"] = Field(
        "device",
        description="where FLUX's text encoders and Redux's image encoder are: host saves 10 GB of the device, and a "
        "prompt or style that was not seen before takes seconds",
    )
    worker_metrics_port: int = Field(0, ge=0, le=65535, description="port for Prometheus; 0: no metrics")
    worker_metrics_host: str = Field("127.0.0.1", description="address on which the metrics are served")
    worker_threads: int | None = Field(
        None, ge=1, le=4096, description="CPU threads of torch; default: torch's own choice"
    )
    worker_batch_pictures: int = Field(
        1,
        ge=1,
        le=64,
        description="pictures of one job, and of queued jobs of one technique and size, that are denoised together; "
        "above 1 a picture may differ by a rounding step from the same one made alone",
    )
    worker_preview_seconds: float = Field(
        0.5, ge=0, le=60, description="pause between two previews of a running job; 0: no previews"
    )
    worker_c2pa_certificate: str | None = Field(
        None, description="PEM certificate chain, the signer's first: pictures then carry C2PA content credentials"
    )
    worker_c2pa_key: SecretStr | None = Field(None, description="PEM private key of that certificate, unencrypted")
    worker_step_timeout_seconds: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="a job without a finished step for this long is hung: the process is replaced",
    )
    worker_stall_seconds: float = Field(
        60.0, gt=0, le=86_400, description="an idle worker that claims nothing while jobs wait this long is replaced"
    )
    worker_grace_seconds: float = Field(
        20.0, ge=0, le=86_400, description="after SIGTERM a job may finish within this time, then it is given back"
    )
    worker_cache_device_bytes: int = Field(
        4_000_000_000, ge=0, le=10**15, description="GPU memory for what styles give (CUDA only)"
    )
    worker_cache_host_bytes: int = Field(
        2_000_000_000, ge=0, le=10**15, description="memory for what was computed from styles"
    )
    worker_cache_disk_bytes: int = Field(
        0, ge=0, le=10**15, description="disk for what was computed from styles; 0: none"
    )
    worker_cache_dir: Path = Field(Path("data/style-cache"), description="folder of the style cache on disk")

    @field_validator("worker_device")
    @classmethod
    def _is_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError("must be auto, cpu, cuda or cuda:N, such as cuda:0")
        return device
