"""Vercel Blob: the store that holds the web app's files."""

from tasks.stores.blob.answers import BlobVersion
from tasks.stores.blob.store import BlobStore

__all__ = ["BlobStore", "BlobVersion"]
