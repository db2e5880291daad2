"""The job protocol in plain Python, to hold the store against: slow, in memory, as its description reads."""

from dataclasses import dataclass, field

from workers.contract.jobs.models import PRIORITIES, Priority, State


@dataclass
class Entry:
    id: str
    owner: str
    queue: str
    priority: Priority
    digest: str
    key: str | None
    arrival: int
    place: int
    deadline: int | None
    wake_at: int
    state: State = State.QUEUED
    token: int = 0
    attempts: int = 0
    deferrals: int = 0
    lease: int = 0
    finished: int = 0
    picture: str = ""

    @property
    def line(self) -> tuple[str, Priority]:
        return self.queue, self.priority


@dataclass
class Reference:
    lease: int
    max_attempts: int
    max_deferrals: int
    max_queued: int
    keep: int
    now: int = 1_700_000_000_000
    jobs: dict[str, Entry] = field(default_factory=dict)
    turns: dict[tuple[str, Priority], list[str]] = field(default_factory=dict)
    served: dict[tuple[tuple[str, Priority], str], int] = field(default_factory=dict)
    arrivals: int = 0
    max_pictures: int = 1000
    """How many pictures an owner's jobs may name: here all have the same bytes."""
    doomed: dict[str, int] = field(default_factory=dict)
    """Pictures that are being deleted, and until when; once that is past, they must be put again."""

    def queued(self, line: tuple[str, Priority] | None = None, owner: str | None = None) -> list[Entry]:
        return sorted(
            (
                job
                for job in self.jobs.values()
                if job.state is State.QUEUED and line in (None, job.line) and owner in (None, job.owner)
            ),
            key=lambda job: job.place,
        )

    def with_key(self, owner: str, key: str | None) -> Entry | None:
        return next((job for job in self.jobs.values() if key and job.key == key and job.owner == owner), None)

    def submit(
        self,
        id: str,
        owner: str,
        queue: str,
        priority: Priority,
        digest: str,
        key: str | None,
        deadline: int | None,
        picture: str = "",
        revived: dict[str, int] | None = None,
    ) -> tuple[str, Entry | None]:
        if known := self.with_key(owner, key):
            return ("known", known) if known.digest == digest else ("conflict", None)
        if len(self.queued()) >= self.max_queued:
            return "full", None
        if len(self.pictures(owner) | {picture}) > max(self.max_pictures, len(self.pictures(owner))):
            return "stored", None
        mark = self.doomed.get(picture)
        if mark is not None and (mark > self.now or mark != (revived or {}).get(picture)):
            return "doomed", None
        self.doomed.pop(picture, None)
        self.arrivals += 1
        arrival = self.arrivals
        job = Entry(id, owner, queue, priority, digest, key, arrival, arrival, deadline, self.now + self.lease)
        job.picture = picture
        self.jobs[id] = job
        self.join(job)
        return "created", job

    def pictures(self, owner: str | None = None) -> set[str]:
        return {job.picture for job in self.jobs.values() if owner in (None, job.owner)}

    def doom(self, pictures: list[str], lease: int) -> dict[str, int]:
        unused = [p for p in pictures if p not in self.pictures() and self.doomed.get(p, 0) <= self.now]
        marks = dict.fromkeys(unused, self.now + lease)
        self.doomed |= marks
        return marks

    def gone(self, marks: dict[str, int], keep: int) -> None:
        self.doomed = {p: mark for p, mark in self.doomed.items() if mark > self.now - keep}
        self.doomed |= {p: self.now for p, mark in marks.items() if self.doomed.get(p) == mark}

    def join(self, job: Entry) -> None:
        turns = self.turns.setdefault(job.line, [])
        if job.owner not in turns:
            turns.append(job.owner)
            turns.sort(
                key=lambda owner: self.served.get((job.line, owner), 0)
            )  # stable: the new among them as they came

    def leave(self, job: Entry, state: State) -> None:
        job.state = state
        turns = self.turns[job.line]
        if not self.queued(job.line, job.owner) and job.owner in turns:
            turns.remove(job.owner)

    def finish(self, job: Entry, state: State) -> None:
        self.leave(job, state)
        job.finished = self.now

    def requeue(self, job: Entry, *, last: bool = False) -> None:
        job.state, job.wake_at = State.QUEUED, self.now
        if last:
            self.arrivals += 1
            job.place = self.arrivals
        self.join(job)

    def apply_time(self) -> tuple[int, int]:
        late = [job for job in self.jobs.values() if self.late(job) and job.state in (State.QUEUED, State.RUNNING)]
        for job in late:
            self.finish(job, State.FAILED)
        held = [job for job in self.jobs.values() if job.state in (State.RUNNING, State.CANCELING)]
        ended = sorted((job for job in held if job.lease <= self.now), key=lambda job: (job.lease, job.id))
        poison = 0
        for job in ended:
            if job.state is State.CANCELING:
                self.finish(job, State.CANCELED)
            elif job.attempts >= self.max_attempts:
                self.finish(job, State.FAILED)
                poison += 1
            else:
                self.requeue(job)
        return len(ended), len(late) + poison

    def late(self, job: Entry) -> bool:
        return job.deadline is not None and job.deadline <= self.now

    def claim(self, queue: str) -> Entry | None:
        self.apply_time()
        return self.next(queue)

    def next(self, queue: str) -> Entry | None:
        for priority in PRIORITIES:
            turns = self.turns.get((queue, priority))
            if not turns:
                continue
            owner = turns.pop(0)
            job, *others = self.queued((queue, priority), owner)
            self.served[job.line, owner] = max(self.served.values(), default=0) + 1
            if others:
                turns.append(owner)
            job.state, job.token, job.attempts = State.RUNNING, job.token + 1, job.attempts + 1
            job.lease = self.now + self.lease
            return job
        return None

    def held(self, id: str, token: int) -> Entry | None:
        job = self.jobs.get(id)
        return job if job and job.token == token and job.state in (State.RUNNING, State.CANCELING) else None

    def settle(self, verb: str, id: str, token: int) -> bool:
        job = self.held(id, token)
        if job is None:
            known = self.jobs.get(id)
            return bool(verb == "commit" and known and known.state is State.SUCCEEDED and known.token == token)
        if job.state is State.CANCELING:
            self.finish(job, State.CANCELED)
            return verb == "canceled"
        if verb == "canceled":
            return False
        if verb == "commit":
            self.finish(job, State.SUCCEEDED)
        elif verb == "release":
            job.attempts -= 1
            self.requeue(job)
        elif verb == "retry" and job.attempts < self.max_attempts:
            self.requeue(job)
        elif verb == "postpone" and job.attempts < self.max_attempts:
            self.requeue(job, last=True)
        elif verb == "defer" and job.deferrals < self.max_deferrals:
            job.attempts, job.deferrals = job.attempts - 1, job.deferrals + 1
            self.requeue(job, last=True)
        else:
            self.finish(job, State.FAILED)
        return True

    def beat(self, id: str, token: int) -> tuple[bool, bool, bool]:
        job = self.held(id, token)
        if job is None:
            return False, False, False
        job.lease = self.now + self.lease
        return True, job.state is State.CANCELING, self.late(job)

    def cancel(self, id: str, owner: str) -> State | None:
        job = self.jobs.get(id)
        if job is None or job.owner != owner:
            return None
        if job.state is State.QUEUED:
            self.finish(job, State.CANCELED)
        elif job.state is State.RUNNING:
            job.state = State.CANCELING
        return job.state

    def delete(self, id: str, owner: str) -> bool:
        job = self.jobs.get(id)
        if job is None or job.owner != owner or not job.state.final:
            return False
        del self.jobs[id]
        return True

    def sweep(self) -> tuple[int, int, list[str], set[str]]:
        ended, failed = self.apply_time()
        due = sorted((job for job in self.queued() if job.wake_at <= self.now), key=lambda job: (job.wake_at, job.id))
        for job in due:
            job.wake_at = self.now + self.lease
        old = {job.id for job in self.jobs.values() if job.state.final and job.finished <= self.now - self.keep}
        for id in old:
            del self.jobs[id]
        return ended, failed, [job.id for job in due], old
