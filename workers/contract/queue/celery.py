"""The one Celery configuration, for those who notify and those who are woken.

Celery carries hints only: no results, no retries, no acknowledgements worth losing, nothing but JSON.
"""

from celery import Celery

from workers.contract.jobs.models import PRIORITIES, Priority
from workers.contract.runtime.redis_url import build_broker_settings

WAKE = "stylize.wake"


def queue_name(queue: str, priority: Priority) -> str:
    """Return the Celery queue of a base model's queue and a priority, such as `sd15.interactive`."""
    return f"{queue}.{priority}"


def queue_names(queue: str) -> tuple[str, ...]:
    """Return all Celery queues of a base model's queue, the urgent one first."""
    return tuple(queue_name(queue, priority) for priority in PRIORITIES)


def create_celery(redis_url: str) -> Celery:
    """Return the Celery app on the Redis of the settings; it connects at first use. Raises Misconfigured.

    `ack_emulation` is off: a message is gone once it is read. It is only a hint, and an acknowledgement that fails
    while Redis restarts would leave a worker that never reads again.
    """
    app = Celery("stylize", set_as_current=False, fixups=[])
    app.conf.update(
        **build_broker_settings(redis_url),
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        task_send_sent_event=False,
        worker_pool="solo",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,  # concerns late acks, of which there are none
        broker_heartbeat=0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "ack_emulation": False,
            "socket_timeout": 5.0,
            "socket_connect_timeout": 2.0,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
    )
    return app
