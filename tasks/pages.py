"""The one way in which pages are made: templates that escape everything, and one stylesheet."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from checks.coverage import WINDOWS
from checks.kinds import KINDS
from checks.notices import sentence
from tasks import wording
from tasks.log import mask

TEMPLATES = Path(__file__).parent / "templates"
_OPTION = re.compile(r"(--[a-z][a-z-]*)")
#: A longer word of a command may be broken: a narrow screen could not hold it.
_LONGEST_WORD = 24
#: A bar of a trend, in pixels.
BAR_WIDTH, BAR_HEIGHT = 6, 28

STORE_NAMES = {
    "neon-db": "Neon",
    "vercel-blob": "Vercel Blob",
    "icp-canister": "ICP canister",
    "ledger": "Ledger",
    "gallery-items": "Gallery items",
    "stored-copies": "Stored copies",
    "run": "This run",
}
_SEVERITY_WORDS = {"critical": "Critical", "warning": "Warning", "info": "For information"}
_FATE_WORDS = {
    "repaired": "repaired",
    "mendable": "repairable",
    "person": "for a person",
    "noted": "noted",
    "acknowledged": "acknowledged",
}


@cache
def page_environment() -> Environment:
    """Jinja with everything escaped, and nothing that could hide; it keeps compiled templates."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=f"sha256-{digest}",
        store_names=STORE_NAMES,
        windows={name: f"within {days} days" if days else "ever" for name, days in WINDOWS.items()},
        severity_words=_SEVERITY_WORDS,
        fate_words=_FATE_WORDS,
        titles={kind.name: kind.title for kind in KINDS.values()},
        on_icp_words=wording.ON_ICP,
        used=wording.USED,
        amount=wording.amount,
        plural=wording.plural,
        percent=wording.percent,
        age=wording.age,
        limit_words=wording.limit,
        sentence=sentence,
        bar={"width": BAR_WIDTH, "height": BAR_HEIGHT},
    )
    environment.filters.update(
        count=wording.count,
        size=wording.size,
        duration=wording.duration,
        moment=wording.moment,
        commands=_commands,
    )
    return environment


def _finalized(value: Any) -> Any:
    """Every value on its way to the page: what can't be seen in it is made visible."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return wording.visible(mask(value))
    return value


def _commands(text: str) -> Markup:
    """A sentence with what stands between backticks set as code, broken between words only."""
    parts = wording.visible(mask(text)).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(_unbroken(part)) if place % 2 else _prose(part)
        for place, part in enumerate(parts)
    )


def _prose(text: str) -> Markup:
    """A sentence's text, in which an option such as ``--verify`` is not torn apart either."""
    option = Markup('<span class="nowrap">{}</span>')
    return Markup("").join(
        option.format(part) if part.startswith("--") else escape(part)
        for part in _OPTION.split(text)
    )


def _unbroken(command: str) -> Markup:
    """A command whose options are not torn apart at their hyphens."""
    word = Markup('<span class="nowrap">{}</span>')
    return Markup(" ").join(
        word.format(part) if len(part) <= _LONGEST_WORD else escape(part)
        for part in command.split(" ")
    )
