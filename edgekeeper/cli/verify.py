"""``edgekeeper verify``: is a gallery really stored? And checking evidence that was handed out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.errors import StoreError, UsageError
from checks.model import RepairPolicy
from edgekeeper.cli.command import command
from edgekeeper.cli.engine import running
from edgekeeper.cli.output import Output
from edgekeeper.cli.summary import print_run

if TYPE_CHECKING:
    from checks.run import GalleryVerdict, MemoryVerdict, RunRecord

_STYLES = {
    "stored_forever": "good", "standard_storage": "good", "icp_only": "good",
    "partially_on_icp": "warning", "unknown": "warning",
}  # fmt: skip
_ROWS = 200

Gallery = Annotated[
    str | None, typer.Argument(metavar="[GALLERY_ID]", help="The gallery to verify.")
]
Memory = Annotated[
    str | None, typer.Option(metavar="TYPE:ID", help="One memory instead of a gallery.")
]
Check = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Check a certificate or a statement of an earlier verification, offline; nothing but "
        "IC_ROOT_KEY (default: the mainnet's) is used.",
    ),
]
Certified = Annotated[
    bool | None,
    typer.Option(
        "--certified/--no-certified",
        help="Have the subnet certify what the canister claims of each memory, and keep the proof. "
        "Default: where IC_IDENTITY_PEM is set.",
    ),
]
Repair = Annotated[
    RepairPolicy,
    typer.Option(help="How far it may go: none, ledger, or content: copies bytes back."),
]


@command
def verify(
    out: Output,
    gallery_id: Gallery = None,
    memory: Memory = None,
    certified: Certified = None,
    repair: Repair = RepairPolicy.NONE,
    check: Check = None,
) -> int:
    """Read every byte of a gallery in every store and say what is really there.

    Compares each copy with the ledger and with the others. The report, run.json and statement.json
    (what can be sent on) are in the run's directory, certificates below it.

    Example: edgekeeper verify 5d3c1e0a-8f57-4a0e-9a39-6d1f1a2b3c4d

    Example: edgekeeper verify --memory image:3f2a0c1e-5b7d-4e8f-9a6b-1c2d3e4f5a6b --json -

    Example: edgekeeper verify --check .edgekeeper/runs/RUN_ID/statement.json

    Exit codes: 0 whole in every store where the ledger says it is, or the file holds; 1 not whole,
    not found or empty, or the file does not hold; 2 usage or settings; 3 something could not be
    read; 4 another run holds the lock; 5 internal error; 130 interrupted.
    """
    asked = [each for each in (gallery_id, memory, check) if each is not None]
    if len(asked) != 1:
        raise UsageError(
            "Name one thing: a gallery's id, --memory TYPE:ID, or --check FILE. Nothing was done."
        )
    if check is not None:
        return _check(out, check)
    if repair is RepairPolicy.PURGE:
        raise UsageError(
            "--repair purge goes with audit; use none, ledger or content. Nothing was done."
        )
    record = run_verify(
        out, gallery_id=gallery_id, memory=memory, certified=certified, repair=repair.value
    )
    return finish(out, record)


def run_verify(out: Output, **parameters: Any) -> dict[str, Any]:
    """Runs the verification's flow and gives its record."""
    with running(out) as run:
        from flows.verify_gallery import verify_gallery  # noqa: PLC0415 - imports Prefect

        return run(verify_gallery, **parameters)


def finish(out: Output, record: dict[str, Any]) -> int:
    """Tells the verdict, and gives the exit code."""
    from checks.run import RunRecord, exit_code  # noqa: PLC0415

    out.json(record)
    run = RunRecord.model_validate(record)
    if run.gallery is not None and not out.quiet:
        _print_gallery(out, run, run.gallery)
    print_run(out, run, with_next_step=False)
    return exit_code(run)


def _print_gallery(out: Output, run: "RunRecord", gallery: "GalleryVerdict") -> None:
    """A row per memory, then the verdict in a sentence."""
    rows = [_row(memory) for memory in gallery.memories[:_ROWS]]
    if rows:
        out.table(("memory", "verdict", "Neon", "Blob", "ICP", "hashed", "proof"), rows)
    if (more := len(gallery.memories) - _ROWS) > 0:
        out.say(f"… and {more:,} more, in {run.report}")
    name = f"Gallery {gallery.id}" if gallery.id else "The memory"
    said = gallery.verdict.replace("_", " ")
    out.say(f"{name}: {said}.", _STYLES.get(gallery.verdict, "critical"))
    if gallery.on_icp:
        from tasks.wording import ON_ICP  # noqa: PLC0415

        out.say(f"  items and order on the canister: {ON_ICP[gallery.on_icp]}")
    if gallery.storage_status and gallery.storage_status != gallery.verdict:
        out.say(f"  the ledger's view says: {gallery.storage_status.replace('_', ' ')}")


def _row(memory: "MemoryVerdict") -> tuple[Any, ...]:
    from tasks.wording import size  # noqa: PLC0415 - --help does without

    hashed = [each.size_bytes or 0 for each in memory.replicas if each.sha256]
    return (
        f"{memory.memory_type} {memory.memory_id}", memory.verdict.replace("_", " "),
        *(_there(memory, backend) for backend in ("neon-db", "vercel-blob", "icp-canister")),
        size(sum(hashed)) if hashed else None,
        "certified" if any(each.certificate for each in memory.replicas) else None,
    )  # fmt: skip


def _there(memory: "MemoryVerdict", backend: str) -> str | None:
    """Whether what belongs into a store is there: all of it, a part, nothing, or unknown."""
    seen = {each.present for each in memory.replicas if each.backend == backend}
    if not seen:
        return None
    if None in seen:
        return "unknown"
    return "partly" if len(seen) > 1 else "there" if True in seen else "absent"


def _check(out: Output, path: Path) -> int:
    """Checks a kept file; 0 where it holds."""
    from tasks.settings import load_settings  # noqa: PLC0415 - --help does without
    from tasks.statement import check_statement  # noqa: PLC0415
    from tasks.stores.icp.certificate import root_key_of  # noqa: PLC0415
    from tasks.stores.icp.evidence import examine, read_kept  # noqa: PLC0415

    text = load_settings().ic_root_key
    if text == "fetch":
        raise UsageError("IC_ROOT_KEY is fetch: a file is checked offline; give the key in hex.")
    try:
        root_key = root_key_of(text)
    except ValueError as error:
        raise UsageError(f"IC_ROOT_KEY is not usable: {error}.") from None
    try:
        with path.open("rb") as file:
            is_statement = file.read(1) == b"{"
        if is_statement:
            return _tell_statement(out, path, check_statement(path, root_key))
        return _tell_claim(out, path, examine(read_kept(path), root_key))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from None
    except StoreError as error:
        out.json({"file": str(path), "holds": False, "reason": str(error)})
        out.error(f"It does not hold: {error}.")
        return 1


def _tell_claim(out: Output, path: Path, claim: Any) -> int:
    out.json({"file": str(path), "holds": True, "claim": _plain(claim)})
    state = "has" if claim.present else "does not have"
    out.say(
        f"It holds: on {claim.time:%Y-%m-%d %H:%M:%S} UTC canister {claim.canister_id} said that "
        f"it {state} memory {claim.memory_id}.", "good",
    )  # fmt: skip
    if claim.declared_sha256:
        out.say(f"  declared: {claim.declared_size:,} bytes, SHA-256 {claim.declared_sha256}")
    out.say("  This is what the canister claims; only reading the bytes shows what they are.")
    return 0


def _tell_statement(out: Output, path: Path, checked: Any) -> int:
    claims = {name: _plain(claim) for name, claim in checked.claims.items()}
    out.json(
        {"file": str(path), "holds": True, "signer": checked.signer, "claims": claims,
         "absent": list(checked.absent), "statement": checked.content}
    )  # fmt: skip
    content = checked.content
    name = f"gallery {content['gallery_id']}" if content["gallery_id"] else "one memory"
    verdict = content["verdict"].replace("_", " ")
    out.say(
        f"It holds: {name} was {verdict} when it was verified at {content['finished_at']}.", "good"
    )
    out.say(
        f"  signed by {checked.signer}" if checked.signer
        else "  not signed: it shows that nothing was damaged, not who wrote it"
    )  # fmt: skip
    out.say(f"  certificates checked: {len(claims):,}")
    if checked.absent:
        out.say(f"  certificates not beside it, so not checked: {len(checked.absent):,}", "warning")
    return 0


def _plain(claim: Any) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    from checks.run import rfc3339  # noqa: PLC0415

    return asdict(claim) | {"time": rfc3339(claim.time)}
