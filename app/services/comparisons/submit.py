"""The way of a comparison from its form to its jobs: all are checked before the first is stored, all or none run."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.auth.keyring import Caller
from app.errors import Conflict, Fault, Invalid
from app.services.comparisons.grid import Variant, expand
from app.services.picture_sizes import check_sizes
from app.services.stored_inputs import Names
from app.services.submit import FormSubmitter, build_job
from app.uploads.cost import check_total
from app.uploads.multipart import Form
from app.uploads.validate import with_pictures
from workers.contract.jobs.admission import Admission, PutInputs
from workers.contract.jobs.comparisons import Cell, Comparison, ComparisonStore
from workers.contract.jobs.models import Job, StylizeRequest


@dataclass(frozen=True)
class ComparisonSubmitter(FormSubmitter):
    """Accepts comparisons; each job counts as a request of the caller's."""

    comparisons: ComparisonStore

    async def submit(self, form: Form, *, caller: Caller, key: str | None) -> tuple[Comparison, bool]:
        """Accept all the jobs that a form asks for; return also whether this very call made them.

        Raises a Problem or a ContractError.
        """
        owner, texts = caller.owner, dict(form.texts)
        named_stored = {f"#/{name}/{n}": one for name, stored in form.stored.items() for n, one in enumerate(stored)}
        variants = expand(form)
        stored = [await self.stored_inputs.resolve(variant.form, owner) for variant in variants]
        requests = [self._validate(variant) for variant in variants]
        check_total(requests, self.validator.max_cost, "#/method")
        comparison_id = secrets.token_hex(16) if key is None else hashlib.sha256(f"{owner} {key}".encode()).hexdigest()
        known = await self.calls.call(self.comparisons.get, comparison_id, owner)
        admission = Admission(0, None) if known else await self._admit(caller, len(variants))
        async with self.writer.decode(form.uploads()) as pictures:
            sent = {pointer: picture.sha256 for pointer, picture in pictures.items()}
            stored_names = {pointer: name for found in stored for pointer, name in found.items()}
            await check_sizes(requests, {**stored_names, **sent}, pictures, self.writer)
            digest = _digest_of(texts, {**sent, **named_stored})
            if known:
                return _check_same(known, digest), False
            jobs = [
                build_job(
                    one.form,
                    with_pictures(request, {**names, **_names_in(one.form, sent)}),
                    owner=owner,
                    comparison=comparison_id,
                )
                for one, request, names in zip(variants, requests, stored, strict=True)
            ]
            comparison = Comparison(
                id=comparison_id,
                owner=owner,
                digest=digest,
                prompt=requests[0].prompt,
                cells=tuple(_cell(*parts) for parts in zip(variants, jobs, requests, strict=True)),
                created_at=await self.calls.call(self.store.now),
            )

            def record(put: PutInputs) -> Comparison:
                most = self.admission.most_active(owner)
                return _check_same(self.store.submit_comparison(comparison, jobs, put, max_active=most), digest)

            named = {pair for names in stored for pair in names.items()}
            accepted = await self.writer.write(owner, pictures, record, admission=admission, stored=named)
        created = accepted == comparison  # else the same request came twice at once
        if created:
            self._announce(jobs)
        return accepted, created

    async def _admit(self, caller: Caller, jobs: int) -> Admission:
        """Find out whether a caller may have a comparison, and count its jobs. Raises a Problem or a ContractError."""
        admission = await self.admission.admit(caller.owner, jobs=jobs)
        await self.admission.count_jobs(caller, jobs, "#/method")
        return admission

    def _validate(self, variant: Variant) -> StylizeRequest:
        try:
            return self.validator.validate(variant.form)
        except Invalid as invalid:
            faults = [Fault(fault.pointer, f"{variant.label}: {fault.detail}") for fault in invalid.errors]
            raise type(invalid).of(faults) from invalid

    def _announce(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.announcer.announce(job, "comparison")


def _digest_of(texts: Mapping[str, str], sent: Names) -> str:
    return hashlib.sha256(json.dumps([texts, sorted(sent.items())], sort_keys=True).encode()).hexdigest()


def _check_same(comparison: Comparison, digest: str) -> Comparison:
    """Return a comparison if it is what was asked for. Raises Conflict."""
    if comparison.digest != digest:
        raise Conflict("the Idempotency-Key was used before with another comparison")
    return comparison


def _names_in(form: Form, sent: Names) -> dict[str, str]:
    """Return those of the pictures sent that a variant's form has."""
    return {upload.pointer: sent[upload.pointer] for upload in form.uploads()}


def _cell(variant: Variant, job: Job, request: StylizeRequest) -> Cell:
    return Cell(job_id=job.id, label=variant.label, method=request.method, seed=request.seed, strength=request.strength)
