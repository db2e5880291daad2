"""The way of a style from its form to its record: checked, its pictures stored, and prepared where that is asked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from app.auth.keyring import Caller
from app.errors import Fault, Invalid
from app.services.admission import InputWriter, JobAdmission
from app.services.styles.precompute import PrecomputeService
from app.services.styles.precompute_requests import PrecomputeRequests
from app.storage.redis_calls import RedisCalls
from app.uploads.multipart import Form
from app.uploads.style_form import parse_methods, parse_style
from app.uploads.validate import UNNAMED
from workers.contract.blobs.names import Sha256
from workers.contract.errors import ContractError
from workers.contract.jobs.admission import Admission, PutInputs
from workers.contract.jobs.models import Job, PrecomputeRequest
from workers.contract.jobs.store import JobStore
from workers.contract.styles.store import Style, StyleReference, StyleStore
from workers.techniques import registry

MOST_STYLES = 1000


@dataclass(frozen=True)
class StyleSaver:
    """Saves styles; each method that one is prepared for at once counts as a request of the caller's."""

    store: JobStore
    styles: StyleStore
    requests: PrecomputeRequests
    precompute_service: PrecomputeService
    admission: JobAdmission
    writer: InputWriter
    calls: RedisCalls

    async def save(self, form: Form, caller: Caller) -> Style:
        """Save the style that a form describes. Raises a Problem or a ContractError."""
        name, weights = parse_style(form)
        unnamed = Style(
            id=secrets.token_hex(16),
            owner=caller.owner,
            name=name,
            references=tuple(StyleReference(sha256=UNNAMED, weight=weight) for weight in weights),
            versions={method: registry.spec(method).version for method in registry.names()},
            created_at=await self.calls.call(self.store.now),
        )
        admission = await self._admit(caller, len(self._build_requests(unnamed, form)))
        async with self.writer.decode(form.uploads()) as pictures:
            style = _with_pictures(unnamed, [pictures[f"#/style_image/{n}"].sha256 for n in range(len(weights))])
            record = partial(self._write, style, self._build_requests(style, form))
            jobs = await self.writer.write(caller.owner, pictures, record, admission=admission)
        self.precompute_service.announce(jobs)
        return style

    async def precompute(self, style: Style, form: Form, caller: Caller) -> None:
        """Have a saved style prepared for the methods that a form names. Raises a Problem or a ContractError."""
        requests = self.requests.build(style, parse_methods(form, "method"), form.texts.get("model"), "#/method")
        await self.admission.count_jobs(caller, len(requests), "#/method")
        await self.precompute_service.start(style, requests)

    def _build_requests(self, style: Style, form: Form) -> list[PrecomputeRequest]:
        """Return the preparations that a form asks for beside saving the style. Raises Invalid."""
        if not form.texts.get("precompute"):
            return []
        methods = parse_methods(form, "precompute")
        return self.requests.build(style, methods, form.texts.get("model"), "#/precompute")

    async def _admit(self, caller: Caller, jobs: int) -> Admission:
        """Find out whether a caller may have a style, and count the jobs that prepare it.

        Raises a Problem or a ContractError.
        """
        if await self.calls.call(self.styles.count, caller.owner) >= MOST_STYLES:
            raise _too_many()
        admission = await self.admission.admit(caller.owner, jobs=jobs)
        await self.admission.count_jobs(caller, jobs, "#/precompute")
        return admission

    def _write(self, style: Style, requests: Sequence[PrecomputeRequest], put: PutInputs) -> list[Job]:
        """Write a style and the jobs that prepare it, both or neither; return the jobs. Talks to Redis.

        Raises Invalid, ContractError.
        """
        if not self.styles.save(style, MOST_STYLES, put):
            raise _too_many()
        try:
            return self.precompute_service.submit(style, requests)
        except ContractError:
            self.styles.delete(style.id, style.owner)
            raise


def _with_pictures(style: Style, pictures: Sequence[Sha256]) -> Style:
    pairs = zip(pictures, style.references, strict=True)
    return style.model_copy(update={"references": tuple(StyleReference(sha256=p, weight=r.weight) for p, r in pairs)})


def _too_many() -> Invalid:
    return Invalid.of([Fault("#/name", f"at most {MOST_STYLES} styles can be kept; delete one first")])
