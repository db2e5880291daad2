from tests.support.models import backbone, bench, sd15, sdxl, tiny_root  # noqa: F401
