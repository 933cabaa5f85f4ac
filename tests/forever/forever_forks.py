"""A process that has imported everything, and forks a Store Forever for each line that it is given.

See ``audit_forks``; here ``pairs`` names the memories.
"""

from typing import Any

from audit_forks import Instants, serve
from forever_box import stored

from tasks.settings import Settings


def store(settings: Settings, _: Instants, order: dict[str, Any]) -> None:
    """Stores the order's memories."""
    stored(settings, [(memory_id, memory_type) for memory_id, memory_type in order["pairs"]])


if __name__ == "__main__":
    serve(store)
