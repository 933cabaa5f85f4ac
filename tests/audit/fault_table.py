"""Every way a store can fail, at every moment of an audit, and what must come of it.

A row for each fault, a column for each stage. What a letter says:

``.``  as if nothing had been wrong: the same findings and repairs as ever
``u``  the store is unknown: exit 3, nothing that rests on its lacking something, none of its edges
       written; what is said of the other stores is right and mended
``p``  parts of the store are unknown, the same for them
``d``  it was listed, and a direct look was not answered: exit 3, what needed the look is not said,
       none of its edges written
``v``  the bytes of some objects are unverifiable, and that is all: what the listings show is said
       and mended
``h``  bytes are not what they should be: said, and nothing of it mended by itself
``-``  does not happen there

A capital is in the default test suite too; the whole table is a campaign (``make soak``). Each rule
of the product has one at least.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from damaged_sandbox import BLOB, ICP

BUSY = {"status": 429, "headers": {"retry-after": "0"}}
FORBIDDEN = {"status": 403, "body": '{"error":{"code":"forbidden","message":"no"}}'}
REDIRECT = {"status": 302, "headers": {"location": "https://x.test/"}}
EMPTY_PAGE = {"status": 200, "body": '{"blobs":[],"hasMore":false}'}
ODD_ITEM = {"status": 200, "body": '{"blobs":[{"url":7}],"hasMore":false,"url":7}'}
HTML = {"status": 200, "body": "<html>sign in</html>"}
LATE_MS, SLOW_MS = 6_000, 300

#: Name in the table: action and value.
FAULTS: dict[str, tuple[str, Any]] = {
    "status 302": ("status", REDIRECT),
    "status 400": ("status", {"status": 400, "body": "canister rejected"}),
    "status 401": ("status", 401),
    "status 403": ("status", FORBIDDEN),
    "status 404": ("status", 404),
    "status 429": ("status", BUSY),
    "status 500": ("status", 500),
    "status 503": ("status", 503),
    "late": ("delay", LATE_MS),
    "trickle": ("trickle", SLOW_MS),
    "truncate": ("truncate", 40),
    "reset": ("reset", None),
    "reset in between": ("reset", 40),
    "flip_bit": ("flip_bit", 8 * 3 + 1),
    "endless body": ("endless_body", None),
    "malformed body": ("status", HTML),
    "malformed item": ("status", ODD_ITEM),
    "empty listing": ("status", EMPTY_PAGE),
    "duplicate_page": ("duplicate_page", None),
    "duplicate item": ("duplicate_page", 2),
    "drop_item": ("drop_item", 2),
    "repeat_cursor": ("repeat_cursor", None),
    "stale_list": ("stale_list", 3_600),
    "fresh cursors": ("fresh_cursor", None),
    "fresh objects": ("fresh_cursor", 10),
    "count too high": ("wrong_count", 1),
    "count too low": ("wrong_count", -1),
    "NotFound": ("answer", {"err": "NotFound"}),
    "Unauthorized": ("answer", {"err": "Unauthorized"}),
    "no Candid": ("answer", {"hex": "4449444c016c"}),
    "other Candid": ("answer", {"hex": "4449444c00017105686f6c6c61"}),
}

BLOB_TABLE = """
                    identity  first page  later page  look-up  read  re-check
status 302          .         u           u           d        v     d
status 401          .         u           u           d        v     d
status 403          .         U           u           d        v     d
status 404          .         u           u           d        v     d
status 429          .         u           u           d        v     d
status 500          .         u           u           D        v     d
status 503          .         u           u           d        v     d
late                .         u           u           d        v     d
trickle             .         u           u           d        v     d
truncate            .         u           u           d        v     d
reset               .         u           u           d        v     D
reset in between    .         u           u           d        v     d
flip_bit            .         u           u           d        H     d
endless body        .         u           u           d        v     d
malformed body      .         u           U           d        v     d
malformed item      .         u           u           d        -     d
empty listing       .         u           U           -        -     -
duplicate_page      -         .           u           -        -     -
duplicate item      -         .           .           -        -     -
drop_item           -         .           .           -        -     -
repeat_cursor       -         -           U           -        -     -
stale_list          -         .           .           -        -     -
fresh cursors       -         .           u           -        -     -
fresh objects       -         .           U           -        -     -
"""

ICP_TABLE = """
                    identity  certificate  capsules  pages  look-up  read  re-check
status 302          .         u            u         u      d        v     d
status 400          .         u            u         u      d        v     d
status 401          .         u            u         u      d        v     d
status 403          .         u            u         u      d        v     d
status 404          .         u            u         u      d        v     d
status 429          .         u            u         u      d        u     d
status 500          .         u            u         u      d        u     d
status 503          .         u            u         u      D        u     d
late                .         u            u         u      d        u     d
trickle             .         u            u         u      d        u     d
truncate            .         u            u         u      d        u     d
reset               .         u            u         u      d        U     d
reset in between    .         u            u         u      d        u     d
flip_bit            .         U            u         u      d        v     d
endless body        .         u            u         u      d        v     d
malformed body      .         u            u         U      d        v     d
duplicate_page      -         -            -         .      -        -     -
duplicate item      -         -            -         .      -        -     -
drop_item           -         -            -         P      -        -     -
repeat_cursor       -         -            -         p      -        -     -
stale_list          -         -            .         p      -        -     -
fresh cursors       -         -            -         p      -        -     -
fresh objects       -         -            -         p      -        -     -
count too high      -         -            p         -      -        -     -
count too low       -         -            .         -      -        -     -
NotFound            -         -            -         U      D        v     d
Unauthorized        -         -            -         u      d        v     d
no Candid           .         -            u         u      d        v     d
other Candid        .         -            u         u      d        v     d
"""

#: Before which stage of the audit the fault begins, and which requests it is for.
BLOB_STAGES: dict[str, tuple[str, dict[str, str]]] = {
    "identity": ("begin", {"method": "GET", "path_regex": r"\?limit=1$"}),
    "first page": ("begin", {"method": "GET", "path_regex": r"\?limit=\d\d+$"}),
    "later page": ("begin", {"method": "GET", "path_regex": r"[?&]cursor="}),
    "look-up": ("conclude", {"method": "GET", "path_regex": r"\?url="}),
    "read": ("verify", {"method": "GET", "path_regex": "^/documents/"}),
    "re-check": ("mend", {"method": "GET", "path_regex": r"\?url="}),
}
ICP_STAGES: dict[str, tuple[str, dict[str, str]]] = {
    "identity": ("begin", {"canister_method": "whoami"}),
    "certificate": ("begin", {"path_regex": "/read_state$"}),
    "capsules": ("begin", {"canister_method": "capsules_list"}),
    "pages": ("begin", {"canister_method": "memories_list"}),
    "look-up": ("conclude", {"canister_method": "memories_read"}),
    "read": ("verify", {"canister_method": "memories_read"}),
    "re-check": ("mend", {"canister_method": "memories_read"}),
}
ENDS = {"begin": "resolve", "verify": "conclude", "conclude": "propose", "mend": "close"}
#: A refusal looks like absence, and is made everywhere: the capsule's pages are refused as well.
REFUSED_EVERYWHERE = ("NotFound", "Unauthorized")


@dataclass(frozen=True)
class Cell:
    """One field of the table.

    Attributes:
        store: the store that fails.
        fault: how.
        stage: at which moment.
        outcome: the letter, in lower case.
        always: whether it is in the default test suite.
    """

    store: str
    fault: str
    stage: str
    outcome: str
    always: bool

    @property
    def is_slow(self) -> bool:
        """Whether it is a time-out that notices the fault."""
        return self.fault in ("late", "trickle")

    @property
    def begins(self) -> str:
        """The stage of the audit before which the fault begins."""
        return self._place[0]

    @property
    def ends(self) -> str:
        """The stage of the audit before which the fault is over."""
        return ENDS[self.begins]

    @property
    def rules(self) -> list[tuple[str, Any, dict[str, str]]]:
        """The fault rules: action, value, and what they match."""
        action, value = FAULTS[self.fault]
        matches = [self._place[1]]
        if self.store == ICP and self.fault in REFUSED_EVERYWHERE and self.stage != "pages":
            matches.append({"canister_method": "memories_list"})
        return [(action, value, match) for match in matches]

    @property
    def _place(self) -> tuple[str, dict[str, str]]:
        return (BLOB_STAGES if self.store == BLOB else ICP_STAGES)[self.stage]

    def __str__(self) -> str:
        return f"{self.store}: {self.fault} at {self.stage}"


def cells() -> Iterator[Cell]:
    """All fields in which something happens."""
    for store, table, stages in ((BLOB, BLOB_TABLE, BLOB_STAGES), (ICP, ICP_TABLE, ICP_STAGES)):
        _, *rows = table.strip("\n").splitlines()
        for row in rows:
            fault, letters = row[:20].strip(), row[20:].split()
            for stage, letter in zip(stages, letters, strict=True):
                if letter != "-":
                    yield Cell(store, fault, stage, letter.lower(), letter.isupper())
