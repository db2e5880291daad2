from tests.support.models import tiny_root  # noqa: F401
