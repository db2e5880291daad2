from tests.integration.conftest import redis, redis_child, store
from tests.support.models import tiny_root

__all__ = ["redis", "redis_child", "store", "tiny_root"]
