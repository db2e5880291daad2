from tests.contract.conftest import redis, redis_child, store

__all__ = ["redis", "redis_child", "store"]
