"""``edgekeeper doctor``: are the settings right, and does each store answer?"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from checks.model import Backend
    from tasks.settings import Settings

_LONGEST_SHOWN = 60
_LARGEST_SKEW_SECONDS = 30.0
OK, UNREACHABLE = 0, 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one store answered, how long it took, and what to do about it."""

    store: str
    state: str
    seconds: float | None = None
    detail: str | None = None
    remedy: str | None = None


@command
def doctor(out: Output) -> int:
    """Show the effective settings, secrets masked, and ask each store whether it is there.

    Writes nothing. Each problem comes with what to do about it.

    Example: edgekeeper doctor

    Example: edgekeeper doctor --json -

    Exit codes: 0 every configured store answers; 2 a setting is not usable; 3 a configured store
    does not answer, or refuses.
    """
    from tasks import log  # noqa: PLC0415 - --help does without
    from tasks.settings import load_settings, masked  # noqa: PLC0415

    settings = load_settings()
    log.protect(settings)
    shown = {name: log.mask(value) for name, value in masked(settings).items()}
    out.table(("setting", "value"), [(name, _short(value)) for name, value in shown.items()])
    out.say("")
    found = list(_diagnoses(settings))
    out.table(
        ("store", "state", "seconds", "detail"),
        [
            (each.store, each.state,
             None if each.seconds is None else f"{each.seconds:.2f}",
             log.mask(each.detail) if each.detail else None)
            for each in found
        ],
    )  # fmt: skip
    for each in found:
        if each.remedy:
            out.say(f"{each.store}: {each.remedy}", "warning")
    out.json({"settings": shown, "stores": [asdict(each) for each in found]})
    return UNREACHABLE if any(each.state == "unreachable" for each in found) else OK


def _diagnoses(settings: "Settings") -> Iterator[Diagnosis]:
    """Asks one store after the other."""
    from checks.model import Backend  # noqa: PLC0415
    from tasks.settings import missing  # noqa: PLC0415

    neon = settings.database_url or settings.database_url_unpooled
    yield _asked("Neon", neon, missing("database_url"), lambda: _ask_database(settings))
    yield _asked(
        "Vercel Blob", settings.blob_token, missing("blob_token"),
        lambda: asyncio.run(_ask_store(Backend.BLOB, settings)),
    )  # fmt: skip
    yield _asked(
        "ICP canister", settings.canister_id, missing("canister_id"),
        lambda: asyncio.run(_ask_store(Backend.ICP, settings)),
    )  # fmt: skip


def _asked(
    store: str, setting: object, lacking: str, ask: Callable[[], tuple[str, str | None]]
) -> Diagnosis:
    """What the store answers, if there is a setting that names one."""
    from checks.errors import EdgekeeperError  # noqa: PLC0415

    if setting is None:
        return Diagnosis(store, "not configured", remedy=lacking)
    began = time.monotonic()
    try:
        detail, remedy = ask()
    except EdgekeeperError as error:
        return Diagnosis(
            store, "unreachable", time.monotonic() - began, str(error), _remedy(store, error)
        )
    return Diagnosis(store, "answers", time.monotonic() - began, detail, remedy)


def _ask_database(settings: "Settings") -> tuple[str, str | None]:
    """The server's version; what is lacking in the schema, or how far the clocks are apart."""
    from tasks.database import connect, transaction  # noqa: PLC0415
    from tasks.schema import ObjectState, schema_status  # noqa: PLC0415

    url = settings.batch_database_url
    with connect(url, purpose="edgekeeper doctor", attempts=2) as conn:
        with transaction(conn, snapshot=True):
            row = conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        skew = abs(time.time() - float(row[0])) if row else 0.0
        lacking = [each for each in schema_status(conn) if each.state is not ObjectState.PRESENT]
        version = conn.info.server_version
    detail = f"Postgres {version // 10_000}.{version % 10_000}, clocks {skew:.1f} s apart"
    if lacking:
        names = ", ".join(each.name for each in lacking[:3])
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""  # noqa: PLR2004
        return detail, f"the schema lacks {names}{more}; see: edgekeeper schema status"
    if skew > _LARGEST_SKEW_SECONDS:
        return detail, "set this machine's clock: ages and leases depend on it"
    return detail, None


async def _ask_store(backend: "Backend", settings: "Settings") -> tuple[str, str | None]:
    """The store's identity, once it has accepted the credentials."""
    from tasks.stores import open_store  # noqa: PLC0415

    store = open_store(backend, settings)
    try:
        identity = await store.identity()
        check = getattr(store, "check_interface", None)
        if check is not None:  # the canister says which methods it has
            await check()
    finally:
        await store.aclose()
    return identity, None


def _remedy(store: str, error: Exception) -> str:
    """What to do about an error."""
    from checks.errors import (  # noqa: PLC0415
        AccessRefusedError,
        SettingsError,
        StoreUnreachableError,
        UntrustedAnswerError,
    )

    match error:
        case AccessRefusedError():
            return "the credentials were refused: check that they are current and for this store"
        case StoreUnreachableError():
            return "check the URL, the network and the service's status page"
        case UntrustedAnswerError():
            return "check IC_ROOT_KEY and IC_URL: the answer is not signed by that network"
        case SettingsError():
            return "correct the setting that is named above"
    return f"look into it before the next audit: until then {store} is unknown"


def _short(value: str) -> str:
    """A value that fits into a line."""
    return value if len(value) <= _LONGEST_SHOWN else f"{value[: _LONGEST_SHOWN - 1]}…"
