from tests.support.models import backbone, context, sd15, sdxl, tiny_root  # noqa: F401
