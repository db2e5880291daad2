"""`stylize models`: list, show, pull, verify, convert, add, remove, gc; the command `stylize` mounts `create(...)`.

Alone: `python -m model_store.cli --store FOLDER pull sd15`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.catalogue import entries, entry_of, folder_of, needed_by, with_required
from model_store.catalogue.entry import Base, Entry, Licence
from model_store.errors import ModelStoreError, PullInterrupted
from model_store.fetch.open import open_source
from model_store.fetch.progress import Bars
from model_store.option_group import OptionsAnywhere
from model_store.store.clean import gc, remove
from model_store.store.lockfile import read_lock
from model_store.store.presence import DEFAULT_STORE, command_for, presence
from model_store.store.verify import verify

Ids = Annotated[list[str] | None, typer.Argument(help="ids of models; see `list`", show_default=False)]
Id = Annotated[str, typer.Argument(help="id of a model")]


def create(
    default_store: Callable[[], Path], store_of: Callable[[Path], Path] = lambda data: data / "models"
) -> typer.Typer:
    """Return the sub-command; without --store the folder is `default_store()`, with --data-dir `store_of(folder)`."""
    app = typer.Typer(
        cls=OptionsAnywhere,
        name="models",
        help="Find, fetch, verify and add checkpoints.",
        no_args_is_help=True,
        add_completion=False,
    )

    @app.callback()
    def models(
        context: typer.Context,
        store: Annotated[Path | None, typer.Option(help="folder of the model store", show_default=False)] = None,
        data_dir: Annotated[
            Path | None, typer.Option(help="folder of a `stylize up` whose models are meant", show_default=False)
        ] = None,
    ) -> None:
        """Find, fetch, verify and add checkpoints; beside a `stylize up` in ./data those that it serves.

        --store and --data-dir may stand behind the sub-command, too.
        """
        context.obj = store or (store_of(data_dir) if data_dir else default_store())

    for name, command in (
        ("list", list_models),
        ("show", show_model),
        ("pull", pull_models),
        ("verify", verify_models),
        ("convert", convert_file),
        ("add", add_model),
        ("remove", remove_model),
        ("gc", collect),
    ):
        app.command(name)(command)
    return app


log = logging.getLogger(__name__)

UNUSED = "not used here"
TRUSTED = "no digest shipped: the first pull is trusted, and pinned"


@contextmanager
def _told() -> Iterator[Console]:
    """Give a console; say the store's errors in one line and end with 1, or 130 after Ctrl-C, wherever it strikes."""
    console = Console()
    try:
        yield console if console.is_terminal else Console(width=160)
    except ModelStoreError as fault:
        typer.echo(f"{fault.code}: {fault}", err=True)
        raise typer.Exit(130 if isinstance(fault, PullInterrupted) else 1) from fault
    except typer.Exit:
        raise
    except Exception as fault:
        log.debug("a fault of ours", exc_info=fault)
        line = (str(fault).strip().splitlines() or [""])[0][:200]
        typer.echo(f"internal: {type(fault).__name__}: {line}", err=True)
        raise typer.Exit(1) from fault
    except KeyboardInterrupt:
        typer.echo(f"{PullInterrupted.code}: stopped; what has arrived is kept", err=True)
        raise typer.Exit(130) from None


def _terms(entry: Entry) -> str:
    licence = entry.licence
    marks = [mark for mark, on in (("gated", licence.gated), ("non-commercial", licence.non_commercial)) if on]
    return f"{licence.name} ({', '.join(marks)})" if marks else licence.name


def _size(entry: Entry) -> str:
    return f"{entry.about_mb / 1000:.2f} GB" if entry.about_mb else ""


def list_models(
    context: typer.Context,
    installed: Annotated[bool, typer.Option("--installed", help="only what is installed")] = False,
) -> None:
    """List all models and whether they are installed."""
    store: Path = context.obj
    with _told() as console:
        lock = read_lock(store)
        table = Table("id", "kind", "base", "size", "state", "licence", box=None, pad_edge=False)
        for entry in entries(store).values():
            state = presence(entry.id, store, lock).state
            if state == "installed" or not installed:
                told = state if entry.served else f"{state}, {UNUSED}"
                table.add_row(entry.id, entry.kind, entry.base or "", _size(entry), told, escape(_terms(entry)))
        console.print(table)


def show_model(context: typer.Context, model: Id) -> None:
    """Show what a model is, its licence, its files and their pins."""
    store: Path = context.obj
    with _told() as console:
        entry, found = entry_of(model, store), presence(model, store)
        facts = {
            "title": entry.title,
            "kind": entry.kind,
            "base": entry.base or "any",
            "origin": f"{entry.repository} at {entry.revision}" if entry.repository else entry.origin,
            "licence": f"{_terms(entry)} {entry.licence.url or ''}".strip(),
            "notice": entry.licence.notice,
            "size": _size(entry),
            "needed by": ", ".join(entry.techniques),
            "requires": ", ".join(entry.requires),
            "notes": entry.notes,
            "served": "" if entry.served else "no: nothing of this release can use it",
            "state": found.state if found.state == "installed" else f"{found.state}; {command_for(found, store)}",
            "folder": str(folder_of(model, store)),
        }
        for name, fact in facts.items():
            if fact:
                console.print(f"{name:>10}  {fact}", markup=False, highlight=False, soft_wrap=True)
        pinned = read_lock(store).models.get(model)
        for path, file in pinned.files.items() if pinned is not None else ():
            console.print(f"{file.sha256}  {file.size:>13,}  {path}", markup=False, highlight=False, soft_wrap=True)
        for wanted in entry.files if pinned is None else ():
            digest = wanted.sha256 or TRUSTED
            made = f", converted to {wanted.target}" if wanted.convert else ""
            console.print(f"{digest:>64}  {wanted.path}{made}", markup=False, highlight=False, soft_wrap=True)


def pull_models(
    context: typer.Context,
    models: Ids = None,
    method: Annotated[str | None, typer.Option(help="fetch all that this method needs on --model")] = None,
    model: Annotated[str | None, typer.Option(help="base model of --method")] = None,
    source: Annotated[str, typer.Option("--from", help="hub, s3://BUCKET/PREFIX or a folder")] = "hub",
    s3_endpoint_url: Annotated[str | None, typer.Option(help="endpoint of an S3 server other than AWS")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="files fetched at a time")] = 4,
) -> None:
    """Fetch models and what they require; what has arrived before is resumed.

    The first pull of a file of which no digest is shipped is trusted: what arrives is pinned, and later pulls of any
    source must bring the same bytes.
    """
    from model_store.fetch.pull import pull

    if (method is None) != (model is None) or not (models or method):
        raise typer.BadParameter("name models, or --method together with --model")
    store: Path = context.obj
    with _told() as console:
        wanted = with_required([*(models or ()), *(needed_by(method, model, store) if method and model else ())], store)
        for entry in (entry_of(each, store) for each in wanted):
            told = (_size(entry), _terms(entry))
            console.print(f"{entry.id}: {', '.join(filter(None, told))}", highlight=False, markup=False)
            if not entry.served:
                typer.echo(f"warning: nothing in this version serves {entry.id}; it is fetched all the same", err=True)
        where = open_source(source, s3_endpoint_url=s3_endpoint_url)
        with Bars(console) as bars:
            done = pull(wanted, store, where, watcher=bars, parallel=parallel)
        for each in done:
            console.print(f"{each.entry.id}: {len(each.steps)} fetched, {len(each.kept)} were there", highlight=False)


def verify_models(context: typer.Context, models: Ids = None) -> None:
    """Compare installed files with their pins, byte by byte; end with 1 when something is wrong."""
    store: Path = context.obj
    faults = 0
    with _told() as console:
        chosen = models or sorted(read_lock(store).models)
        if not chosen:
            console.print(f"nothing was ever pulled into or added to {store}", highlight=False, soft_wrap=True)
        for model in chosen:
            findings = list(verify(model, store))
            wrong = [finding for finding in findings if finding.fault is not None]
            for finding in wrong:
                console.print(f"{model}/{finding.path}: {finding.fault}", highlight=False, soft_wrap=True)
            console.print(f"{model}: {len(findings) - len(wrong)} of {len(findings)} files as pinned", highlight=False)
            faults += len(wrong)
    if faults:
        raise typer.Exit(1)


def convert_file(
    source: Annotated[Path, typer.Argument(help="pickled checkpoint: .bin, .ckpt, .pt or .pth")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write")],
    keymap: Annotated[str, typer.Option(help="which names are kept and how they change")] = "plain",
) -> None:
    """Convert a pickled checkpoint in a restricted process."""
    from model_store.convert.pickled import convert_pickled

    if target.suffix != ".safetensors" or target.exists():
        raise typer.BadParameter(f"{target} must be named .safetensors and not be there yet", param_hint="target")
    with _told() as console:
        done = convert_pickled(source, target, keymap)
        console.print(f"{target}: {done.tensors} tensors", highlight=False)
        if done.network:
            console.print("note: this kernel does not let the converting process give up its network")


def add_model(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="diffusers folder, checkpoint, LoRA, IP-Adapter or trained style")],
    model: Id,
    base: Annotated[Base | None, typer.Option(help="architecture, where the file does not tell")] = None,
    configs: Annotated[
        Path | None, typer.Option(help="diffusers folder to take configuration and tokenizers of")
    ] = None,
    licence: Annotated[str, typer.Option(help="on which terms it may be used")] = "unknown",
    title: Annotated[str | None, typer.Option(help="name for people")] = None,
    keymap: Annotated[str | None, typer.Option(help="key map of a pickled file")] = None,
) -> None:
    """Register a checkpoint of your own."""
    from model_store.load.quiet import quiet_libraries

    quiet_libraries()
    from model_store.add.add import add

    store: Path = context.obj
    with _told() as console:
        terms = Licence(name=licence)
        entry = add(source, model, store, base=base, configs=configs, licence=terms, title=title, keymap=keymap)
        console.print(
            f"{entry.id}: {entry.kind} for {entry.base or 'any base'}, {len(entry.files)} files", highlight=False
        )
        if entry.notes:
            console.print(f"note: {entry.notes}", highlight=False, markup=False)


def remove_model(
    context: typer.Context,
    model: Id,
    forget: Annotated[bool, typer.Option("--forget", help="forget the pinned digests too")] = False,
    force: Annotated[bool, typer.Option("--force", help="even when another model requires it")] = False,
) -> None:
    """Delete a model's files; its pins stay unless --forget."""
    with _told() as console:
        freed = remove(model, context.obj, forget=forget, force=force)
        console.print(f"{model}: {freed.size / 1e6:.1f} MB freed", highlight=False)


def collect(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
) -> None:
    """Delete what broken-off pulls and conversions left, and folders of models nobody knows."""
    with _told() as console:
        found = gc(context.obj, dry_run=dry_run)
        for freed in found:
            console.print(f"{freed.path}  {freed.size / 1e6:.1f} MB", highlight=False, soft_wrap=True)
        total = sum(freed.size for freed in found) / 1e6
        console.print(f"{total:.1f} MB {'would be ' if dry_run else ''}freed", highlight=False)


if __name__ == "__main__":
    create(lambda: DEFAULT_STORE)()
