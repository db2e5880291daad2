from tests.support.models import backbone, context, controlnet, flux, flux2, flux_fill, sd15, sdxl, tiny_root  # noqa: F401
