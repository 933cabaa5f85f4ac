"""Which kinds of damage there are: each kind has variants, and each variant damages one memory."""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.drift.bench import Bench

# Damages one memory, reports what follows from it, and says whether it found one to damage.
Variant = Callable[["Bench"], bool]

DEFAULT_COUNT: Final = 4  # what `all` damages of each kind, more where there are more variants
_MODULES: Final = (
    "ledger_damage", "row_damage", "object_damage", "memory_damage", "location_damage",
    "content_damage", "collection_damage",
)  # fmt: skip
_variants: dict[str, list[Variant]] = {}


def damages(kind: str) -> Callable[[Variant], Variant]:
    """Register a function as a variant of this kind; variants take turns in order."""

    def register(variant: Variant) -> Variant:
        _variants.setdefault(kind, []).append(variant)
        return variant

    return register


def variants() -> Mapping[str, list[Variant]]:
    """All kinds with their variants."""
    for name in _MODULES:
        importlib.import_module(f"sandbox.drift.{name}")
    return _variants


def parse_spec(spec: str) -> dict[str, int | None]:
    """How much of which kind: ``all``, or ``KIND=COUNT,…``; None is the default count.

    Raises SandboxError where the text is neither, or names a kind that there is not.
    """
    if spec.strip() == "all":
        return dict.fromkeys(variants())
    wanted: dict[str, int | None] = {}
    for part in spec.split(","):
        kind, _, count = (text.strip() for text in part.partition("="))
        if kind not in variants():
            raise SandboxError(
                f"--drift: no kind of damage {kind!r}; there are {', '.join(sorted(variants()))}"
            )
        if not (count.isascii() and count.isdigit()):
            raise SandboxError(f"--drift: {part.strip()!r} is not KIND=COUNT such as {kind}=3")
        if kind in wanted:
            raise SandboxError(f"--drift: {kind} is given twice")
        wanted[kind] = int(count)
    return wanted
