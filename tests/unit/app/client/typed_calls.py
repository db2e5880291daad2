"""What type checkers see of both clients; `make lint` reads this file, nothing runs it."""

from pathlib import Path
from typing import assert_type

from app.client import AsyncClient, Client, ComparisonView, JobView


def call(client: Client) -> None:
    job = client.submit("signal-leak", prompt="a", style_images=["a.png"], seed=7)
    assert_type(job, JobView)
    assert_type(client.submit_recipe(job.recipe, seed=8), JobView)
    assert_type(client.wait(job, seconds=1, on_update=lambda look: print(look.state)), JobView)
    assert_type(client.download(job, "out"), list[Path])
    assert_type(client.get_preview(job.id), bytes | None)
    assert_type(client.get_control_map(job), bytes | None)
    assert_type(client.compare(["signal-leak"], strengths=[1], prompt="a"), ComparisonView)
    assert_type(client.submit(prompt="a", style_images=["a.png"]), JobView)
    client.submit("signal-leak", promt="a")  # type: ignore[call-arg]
    client.submit("signal-leak", seed="a")  # type: ignore[arg-type]
    client.get_job()  # type: ignore[call-arg]


async def call_awaiting(client: AsyncClient) -> None:
    job = await client.submit("signal-leak", prompt="a", style_images=["a.png"], seed=7)
    assert_type(job, JobView)
    assert_type(await client.wait(job, on_update=lambda look: print(look.state)), JobView)
    assert_type(await client.download(job, Path("out")), list[Path])
    assert_type(await client.compare(["signal-leak"], seeds=[1], prompt="a"), ComparisonView)
    await client.submit("signal-leak", promt="a")  # type: ignore[call-arg]
    print(client.get_job("a").id)  # type: ignore[attr-defined]
