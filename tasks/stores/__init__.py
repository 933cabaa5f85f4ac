"""The stores, one module each, behind one small protocol.

Adding a backend is one module here, one value of :class:`checks.model.Backend` and one line in
:func:`open_store`.
"""

from collections.abc import Collection

from checks.model import Backend
from tasks.settings import Settings
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.store import IcpStore
from tasks.stores.protocol import Store


def open_store(
    backend: Backend,
    settings: Settings,
    *,
    known_capsules: Collection[str] = (),
    sharing: int = 1,
    attempt: str | None = None,
) -> Store:
    """The store that ``settings`` name for ``backend``; it belongs to the running event loop.

    ``sharing``: so many processes ask it at the same time, and together keep to the settings'
    rates. ``attempt``: what stores opened for the same attempt at a run may share in this process,
    they do.

    Raises SettingsError where they name none.
    """
    if backend is Backend.BLOB:
        return BlobStore(settings, sharing=sharing)
    if backend is Backend.ICP:
        return IcpStore.from_settings(
            settings, known_capsules=known_capsules, sharing=sharing, attempt=attempt
        )
    raise ValueError(f"{backend} is read by SQL, not object by object")
