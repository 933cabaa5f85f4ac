"""The Internet Computer: a canister that holds memories and the bytes of their assets."""

from tasks.stores.icp.store import IcpStore

__all__ = ["IcpStore"]
