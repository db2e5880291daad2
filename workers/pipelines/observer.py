"""What an engine tells those who watch it as a whole, metrics above all."""


class Observer:
    """Is told of batches and of memory that did not suffice; the methods here do nothing."""

    def ran(self, method: str, pictures: int, seconds: float) -> None:
        """Some pictures of one technique were computed together in this time, or the attempt failed."""

    def ran_out_of_memory(self) -> None:
        """A batch did not fit on the device; it is tried again in smaller pieces while it has any."""
