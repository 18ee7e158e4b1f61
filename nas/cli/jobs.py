"""nas submit and nas jobs: searches on a cluster."""

import getpass
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nas.cli import search as searching
from nas.cli._shared import Json, StoreUrl, show, verb
from nas.errors import UserError
from nas.study import options

if TYPE_CHECKING:
    from nas.cluster.submission import Submitted
    from nas.report.tables import Lines
    from nas.store.jobs import Job

submitting = typer.Typer()
app = typer.Typer(help="List, read and stop the searches on a cluster.", no_args_is_help=True)

EXECUTOR = "ray"  # where a job's trials run unless the search says otherwise
JobName = Annotated[str, typer.Argument(help="As nas submit has printed it.")]
Follow = Annotated[bool, typer.Option("--follow", help="Until the job ends.")]
RowStore = Annotated[
    str | None,
    typer.Option("--store", help="Where the job is recorded: the search's, as seen from here."),
]


@submitting.command()
@verb
def submit(
    words: Annotated[list[str], typer.Argument(help="After --: search and its options.")],
    address: Annotated[
        str | None, typer.Option(help="The head, http://head:8265; else RAY_API_SERVER_ADDRESS.")
    ] = None,
    follow: Follow = False,
    name: Annotated[str | None, typer.Option(help="The job's name; by its content.")] = None,
    store: RowStore = None,
    store_on_cluster: Annotated[
        bool, typer.Option("--store-on-cluster", help="Send no store: its machines have NAS_STORE.")
    ] = False,
    json_: Json = False,
) -> None:
    """Run a search as a job of a Ray cluster; the same again goes on with it, or says it runs."""
    search = read_search(words)
    from nas.cluster.head import Head

    head = Head.connect(address, ask_token)  # before the slow imports: nobody waits for a question
    from nas.cluster import submission

    submitted = submission.submit(
        search,
        head,
        name=name,
        store=store,
        store_on_cluster=store_on_cluster,
        say=lambda line: typer.echo(f"nas: {line}", err=True),
    )
    given = store or search.get("store")
    show(_Answer(submitted, _shown_option(given)), as_json=json_)
    if follow and not submitted.job.ended:
        _follow(submitted.job, given)


class _Answer(NamedTuple):
    """What became of a search that was submitted."""

    submitted: "Submitted"
    store_option: str

    def to_json(self) -> dict[str, Any]:
        return self.submitted.job.to_json() | {"begun": self.submitted.begun}

    def lines(self) -> Iterator[str]:
        from nas.cluster.submission import follow_ups

        job = self.submitted.job
        if self.submitted.begun:
            yield f"job {job.id} submitted to {job.address}"
        else:
            state = "has ended well" if job.state == "succeeded" else f"is {job.state}"
            yield f"job {job.id} {state} at {job.address}: nothing was submitted again"
        yield from (f"  {line}" for line in follow_ups(job, self.store_option))


def read_search(words: list[str]) -> dict[str, Any]:
    """Read a command line of `nas search` as it does itself; only options that are given are in it.

    Raises UserError for what can't be searched, so far as that shows without data and a store.
    """
    command = typer.main.get_group(searching.app).commands["search"]
    if not words or words[0] != "search":
        first = words[0] if words else "nothing"
        raise UserError(f"What is submitted is a search: -- search --space ..., not {first!r}.")
    given = command.make_context("nas search", list(words[1:])).params
    del given["json_"]  # a job prints to its log
    search = {"executor": EXECUTOR} | options.given(given.pop("config"), given)
    options.check(options.read(search))
    return search


@app.command("list")
@verb
def list_jobs(store: StoreUrl = None, json_: Json = False) -> None:
    """List the jobs that the store knows, also those whose head is gone."""
    from nas.cluster import submission
    from nas.cluster.head import Head

    jobs = submission.jobs(lambda address: Head.connect(address, ask_token), store=store)
    show(_Jobs(jobs), as_json=json_)


class _Jobs(list["tuple[Job, str]"]):
    """Jobs with what is known of each now."""

    def to_json(self) -> list[dict[str, Any]]:
        return [job.to_json() | {"now": now} for job, now in self]

    def lines(self) -> "Lines":
        from nas.report.tables import Table

        rows = [
            [job.id, now, job.address, f"{job.created:%Y-%m-%d %H:%M}", shlex.join(job.words[1:])]
            for job, now in self
        ]
        return [Table(["job", "state", "head", "submitted (UTC)", "search"], rows)]


@app.command()
@verb
def logs(job: JobName, follow: Follow = False, store: StoreUrl = None) -> None:
    """Print what a job has printed."""
    from nas.cluster import submission

    found = submission.find(job, store=store)
    if follow:
        _follow(found, store)
        return
    typer.echo(submission.logs(found, ask_token), nl=False)


@app.command()
@verb
def stop(job: JobName, store: StoreUrl = None) -> None:
    """Stop a job as Ctrl-C does: what it found is kept, the same nas submit goes on."""
    from nas.cluster import submission

    found = submission.find(job, store=store)
    if found.ended:
        typer.echo(f"job {found.id} was {found.state} already")
        return
    ended = submission.stop(found, ask_token, store=store)
    typer.echo(f"job {ended.id} is {ended.state}")


def ask_token(address: str) -> str | None:
    """Ask a person for the token of a head, without showing it; None where nobody sits there."""
    if not sys.stdin.isatty():
        return None
    try:  # it silences the terminal before it prints the question, which typer.prompt does not
        return getpass.getpass(f"Token of the cluster at {address}: ").strip() or None
    except EOFError:
        return None


def _follow(job: "Job", store: str | None) -> None:
    """Print a job's log until it ends; a job that did not end well ends this command alike."""
    from nas.cluster import submission

    try:
        ended = submission.follow(
            job, lambda text: typer.echo(text, nl=False), ask_token, store=store
        )
    except KeyboardInterrupt:
        typer.echo(f"nas: job {job.id} runs on; nas jobs stop {job.name} ends it.", err=True)
        raise typer.Exit(130) from None
    why = f": {ended.message}" if ended.message else ""
    typer.echo(f"nas: job {ended.id} {ended.state}{why}", err=True)
    if ended.state != "succeeded":
        raise typer.Exit(1)


def _shown_option(store: str | None) -> str:
    """Return `--store` as the commands printed need it; a URL with a password is not printed."""
    if store is None:
        return ""
    from nas.store.engine import masked

    return f" --store {masked(store) if masked(store) == store else '...'}"
