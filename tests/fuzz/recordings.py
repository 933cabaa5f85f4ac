"""What ``record.py`` kept of the sandbox's answers."""

from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
ROOT_KEY = bytes.fromhex((RECORDED / "root_key.hex").read_text())


def recorded(pattern: str) -> list[bytes]:
    """The answers of that name, in order."""
    found = [path.read_bytes() for path in sorted(RECORDED.glob(pattern))]
    assert found, pattern
    return found


def chosen(data: bytes, number: int) -> tuple[int, bytes]:
    """Which of so many an input is for, by its first byte, and the rest of it."""
    return (data[0] if data else 0) % number, data[1:]


def for_each(number: int, data: bytes) -> bytes:
    """The input that :func:`chosen` takes for ``number``."""
    return bytes([number]) + data
