"""What callers see of an error."""

from pydantic import BaseModel, Field


class FaultView(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer as URI fragment", examples=["#/prompt"])
    detail: str = Field(examples=["is required"])


class ProblemView(BaseModel):
    """An error, after RFC 9457; served as application/problem+json."""

    type: str = Field(examples=["urn:stylize:problem:invalid-request"])
    title: str
    status: int
    detail: str
    errors: list[FaultView] = []
    instance: str | None = Field(
        None,
        description="present with 500: which request it was; the gateway's log tells more of it",
        examples=["urn:stylize:request:3f1c9a5be0d24c71"],
    )
