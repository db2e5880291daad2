"""Pull models: plan, check the disk, fetch files in parallel, convert, pin."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from model_store.catalogue import entry_of, with_required
from model_store.convert.pickled import convert_pickled
from model_store.errors import PullInterrupted
from model_store.fetch.copies import files_by_digest, link_copy
from model_store.fetch.plan import FileDownload, PullPlan, plan
from model_store.fetch.progress import Silent, Watcher
from model_store.fetch.source import Source
from model_store.fetch.space import require_space
from model_store.fetch.transfer import RetryPolicy, digests_of, fetch_file, matches
from model_store.store.files import held, put_in_place, sha256_of
from model_store.store.lockfile import PinnedFile, PinnedModel, pin, read_lock


def pull(
    models: Sequence[str],
    store: Path,
    source: Source,
    *,
    watcher: Watcher | None = None,
    policy: RetryPolicy | None = None,
    parallel: int = 4,
    stop: Event | None = None,
) -> tuple[PullPlan, ...]:
    """Install `models` and what they require; return what was done for each.

    Models that are installed already cost no request. Stops soon after `stop` is set, or on Ctrl-C, by raising
    Interrupted. Raises UnknownModel, StoreBusy, ConversionFailed and FetchError's kinds; whatever happens, a file has
    its final name only when it is whole and verified, and the next call resumes.
    """
    watcher, policy, stop = watcher or Silent(), policy or RetryPolicy(), stop or Event()
    fetched = [entry_of(model, store) for model in with_required(models, store)]
    fetched = [entry for entry in fetched if entry.origin == "hub"]
    with ExitStack() as locks:
        for entry in sorted(fetched, key=lambda entry: entry.id):
            locks.enter_context(held(store, entry.id))
        lock = read_lock(store)
        stored = files_by_digest(store, lock)
        plans = tuple(plan(entry, store, source, lock, policy, stop, stored) for entry in fetched)
        require_space(store, sum(each.bytes_needed for each in plans))
        steps = [step for each in plans for step in each.steps]
        digests = _fetch_all(steps, source, policy, watcher, stop, parallel)
        for each in plans:
            _finish(each, store, digests, watcher)
    return plans


def _fetch_all(
    steps: Sequence[FileDownload], source: Source, policy: RetryPolicy, watcher: Watcher, stop: Event, parallel: int
) -> dict[Path, str]:
    """Fetch all files, a few at a time, the largest first; return their digests by where they lie.

    What the store has under another name comes last, when those that it equals are there.
    """
    digests: dict[Path, str] = {}
    for copies in (False, True):
        chosen = [step for step in steps if (step.copy_of is not None) is copies]
        digests |= _fetch_some(chosen, source, policy, watcher, stop, parallel)
    return digests


def _fetch_some(
    steps: Sequence[FileDownload], source: Source, policy: RetryPolicy, watcher: Watcher, stop: Event, parallel: int
) -> dict[Path, str]:
    ordered = sorted(steps, key=lambda step: -step.job.remote.size)
    with ThreadPoolExecutor(parallel, thread_name_prefix="pull") as pool:
        running = {pool.submit(_fetch, step, source, policy, watcher, stop): step for step in ordered}
        try:
            _await_all(running)
        except BaseException as fault:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(fault, KeyboardInterrupt):
                raise PullInterrupted("stopped; what has arrived is kept for the next pull") from None
            raise
        return {step.job.target: future.result() for future, step in running.items()}


def _await_all(running: dict[Future[str], FileDownload]) -> None:
    """Return when all are done; raise the first fault."""
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _fetch(step: FileDownload, source: Source, policy: RetryPolicy, watcher: Watcher, stop: Event) -> str:
    """Fetch one file, unless the store has its bytes: under another name, or pickled and not converted yet."""
    there = step.job.target
    if step.copy_of is not None and (linked := link_copy(step.copy_of, there, step.job.remote)):
        return linked
    if step.keymap is not None and there.is_file():
        digests = digests_of(there, step.job.remote.size)
        expected = step.job.sha256 in (None, digests.sha256)
        if expected and matches(step.job.remote, digests.done, digests.sha256, digests.git_sha1):
            return digests.sha256
        there.unlink()
    return fetch_file(source, step.job, policy=policy, watcher=watcher, stop=stop)


def _finish(done: PullPlan, store: Path, digests: dict[Path, str], watcher: Watcher) -> None:
    """Convert what is pickled, then pin every file of a model."""
    if not done.steps and read_lock(store).models.get(done.entry.id) is not None:
        return
    files = dict(done.kept)
    for step in done.steps:
        sha256 = digests[step.job.target]
        if step.keymap is None:
            files[step.target] = PinnedFile(size=step.job.remote.size, sha256=sha256, source=step.job.remote.path)
        else:
            watcher.converting(step.job.name)
            files[step.target] = _converted(step, step.keymap, sha256)
    with held(store, "store", wait=True):
        pin(store, done.entry.id, PinnedModel(revision=done.revision, files=files))
    for step in done.steps:
        if step.keymap is not None:
            step.job.target.unlink(missing_ok=True)


def _converted(step: FileDownload, keymap: str, source_sha256: str) -> PinnedFile:
    """Convert one pickled file into its final place and return its pin."""
    staged = step.job.target.with_name(f"{step.final.name}.partial")
    convert_pickled(step.job.target, staged, keymap)
    pinned = PinnedFile(
        size=staged.stat().st_size,
        sha256=sha256_of(staged),
        source=step.job.remote.path,
        source_size=step.job.remote.size,
        source_sha256=source_sha256,
    )
    step.final.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(staged, step.final)
    return pinned
