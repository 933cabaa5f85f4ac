"""How tests run a verification: a gallery's id or options in, the record out."""

from collections.abc import Callable

from checks.run import RunRecord

Verify = Callable[..., RunRecord]
