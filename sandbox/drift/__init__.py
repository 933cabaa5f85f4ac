"""Damage on purpose, and the list of what an audit must find of it."""

from sandbox.drift.injection import inject
from sandbox.drift.registry import parse_spec

__all__ = ["inject", "parse_spec"]
