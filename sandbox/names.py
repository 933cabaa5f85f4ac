"""Names and texts as people give them: spaces, accents, plus and percent signs, several scripts."""

import string
import unicodedata
from random import Random

_PLACES = [
    "Lissabon", "Zürich", "Kraków", "東京", "São Paulo", "Reykjavík", "the lake", "grandma's",
    "Αθήνα", "Прага", "Cádiz", "the garden", "Malmö", "Nice", "Kyōto", "home",
]  # fmt: skip
_EVENTS = [
    "Birthday", "Wedding", "Summer", "Christmas", "First steps", "Geburtstag", "Été", "Moving day",
    "School play", "Concert", "Picnic", "Reunion", "Ski trip", "Anniversary", "Cumpleaños",
]  # fmt: skip
_WORDS = """
the we she he and with after before under over rain sun light river train kitchen window
letter bread coffee song story evening morning winter spring old new small long quiet loud
laughing walking waiting singing remembered promised forgot found kept lost told showed
always never almost again together café naïve déjà Straße über señora niño façade 海 山 мир дом
""".split()  # noqa: SIM905  # a list of this would fill the page
_LETTERS = string.ascii_letters + string.digits
_SUFFIX_LENGTH = 21


def title(rng: Random) -> str:
    """A title such as ``Summer in Zürich``."""
    return f"{rng.choice(_EVENTS)} {rng.choice(('in', 'at', '&', '+'))} {rng.choice(_PLACES)}"


def caption(rng: Random) -> str | None:
    """A short text, or none."""
    return " ".join(rng.choices(_WORDS, k=5)) if rng.randrange(5) < 2 else None  # noqa: PLR2004


def pathname(rng: Random, folder: str, extension: str) -> str:
    """A blob's pathname below ``folder``, different for each call, decoded.

    Half of them are plain names with a random suffix such as the store adds; the others show what
    breaks careless encoding.
    """
    suffix = "".join(rng.choices(_LETTERS, k=_SUFFIX_LENGTH))
    name = rng.choice(_NAMES)(rng)
    return f"{folder}/{name}-{suffix}.{extension}"


def _camera(rng: Random) -> str:
    return f"IMG_{rng.randrange(10_000):04}"


def _by_month(rng: Random) -> str:
    return f"{rng.randrange(2015, 2026)}/{rng.randrange(1, 13):02}/{rng.randrange(1_000)}"


def _titled(rng: Random) -> str:
    return f"{title(rng)} ({rng.randrange(100)})"


def _percent(rng: Random) -> str:
    return f"{rng.randrange(100)}% of us + friends #1"


def _encoded(rng: Random) -> str:
    return f"50%25 off & more? {rng.randrange(100)}"


def _accented(rng: Random) -> str:
    """Composed as people type it, or decomposed as some file systems keep it."""
    return unicodedata.normalize(rng.choice(("NFC", "NFD")), rng.choice(_PLACES))


_NAMES = (*[_camera] * 5, _by_month, _titled, _percent, _encoded, _accented)


def note(rng: Random, number: int) -> str:
    """A note's text: a few sentences, at least 64 bytes long, no two alike."""
    lines = [f"{title(rng)}, no. {number}", ""]
    for _ in range(rng.randrange(2, 12)):
        sentence = " ".join(rng.choices(_WORDS, k=rng.randrange(8, 24)))
        lines.append(sentence[0].upper() + sentence[1:] + ".")
    return "\n".join(lines)
