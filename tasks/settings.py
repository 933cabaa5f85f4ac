"""The one settings object: read once from the environment and ``.env``, passed down from there.

Every variable of the interface is a field here, with its meaning, its default and an example;
``doctor``, the documentation and the error messages are made from these.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from checks.errors import SettingsError
from checks.model import Backend
from checks.normal import LOOPBACK_HOSTS, BlobAddress
from tasks.conninfo import parameters_of, require_protection

MAINNET_ROOT_KEY = (
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
    "814c0e6ec71fab583b08bd81373c255c3c371b2e84863c98a4f1e08b74235d14fb5d9c0cd546d968"
    "5f913a0c0b2cc5341583bf4b4392e467db96d65b9bb4cb717112f8472e0d5a4d14505ffd7484"
    "b01291091c5f87b98883463f98091a0baaae"
)
_TOKEN = re.compile(r"vercel_blob_rw_(?P<store_id>[A-Za-z0-9]+)_(?P<secret>.+)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MISREAD = re.compile(r"[\x00-\x20\x7f\\]")
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]i?B|B)?", re.IGNORECASE)
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip
ALL_BYTES = 2**62
#: What is shown in the place of a secret.
MASK = "***"
_WORD = re.compile(r"\S+")
_USER = re.compile(r"//[^/:@]*:")

BlobPlan = Literal["hobby", "pro", "enterprise", "unlimited"]


def _named(name: str, description: str, example: str, default: Any = None, **more: Any) -> Any:
    """A field that is read from the variable ``name``."""
    return Field(
        default,
        validation_alias=AliasChoices(name),
        description=description,
        examples=[example],
        **more,
    )


def byte_budget(text: str) -> int:
    """Bytes in a text such as ``5GB``, ``512MiB``, ``0`` or ``all``; no more than all.

    Raises ValueError where it is none of these.
    """
    if text.strip().lower() == "all":
        return ALL_BYTES
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError("give a number of bytes such as 500MB or 5GB, 0 for none, or all")
    return int(min(float(match["number"]) * _UNITS[(match["unit"] or "").upper()], ALL_BYTES))


def local_path(home: str) -> Path:
    """Where on this machine a home is: of a URL of other storage, its own place in the cache."""
    scheme, mark, rest = home.partition("://")
    if mark and scheme not in ("file", "local"):
        digest = hashlib.sha256(home.encode()).hexdigest()[:16]
        return platformdirs.user_cache_path("edgekeeper") / digest
    return Path(rest if mark else home).expanduser().absolute()


def _require_http(url: str) -> None:
    """Raises ValueError where ``url`` is no http(s) URL, or plain http over a network.

    A space, a control character or a backslash in it is read otherwise by every parser.
    """
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text may repeat the password
        usable = False
    if not usable or parts.scheme not in ("http", "https") or _MISREAD.search(url):
        raise ValueError("it is no http(s) URL") from None
    if parts.scheme == "http" and not is_loopback(url):
        raise ValueError("plain http is allowed for this machine only; use https")


def is_loopback(url: str) -> bool:
    """Whether ``url`` leads to this machine."""
    return (urlsplit(url).hostname or "") in LOOPBACK_HOSTS


class Settings(BaseSettings):
    """All settings of a run."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True,
        env_ignore_empty=True, populate_by_name=True,
        env_prefix="edgekeeper_by_field_",  # else the field `home` would be read from HOME
    )  # fmt: skip

    database_url: SecretStr | None = _named(
        "DATABASE_URL", "Neon's connection string",
        "postgresql://user:password@ep-x-pooler.eu-central-1.aws.neon.tech/db?sslmode=require",
    )  # fmt: skip
    database_url_unpooled: SecretStr | None = _named(
        "DATABASE_URL_UNPOOLED", "Neon's direct connection string, used for batch work where set",
        "postgresql://user:password@ep-x.eu-central-1.aws.neon.tech/db?sslmode=require",
    )  # fmt: skip
    blob_token: SecretStr | None = _named(
        "BLOB_READ_WRITE_TOKEN", "the blob store's token", "vercel_blob_rw_<storeId>_<secret>"
    )
    blob_api_url: str = _named(
        "VERCEL_BLOB_API_URL", "base URL of the Vercel Blob API; where it is overridden, object "
        "URLs on its host and port are trusted as the store's own",
        "https://vercel.com/api/blob", "https://vercel.com/api/blob",
    )  # fmt: skip
    ic_url: str = _named(
        "IC_URL", "boundary node or local replica", "https://icp-api.io", "https://icp-api.io"
    )
    canister_id: str | None = _named(
        "CANISTER_ID_BACKEND", "the canister that holds the copies", "ryjl3-tyaaa-aaaaa-aaaba-cai"
    )
    identity_pem: SecretStr | None = _named(
        "IC_IDENTITY_PEM", "the identity's PEM itself or a path to it; anonymous if unset",
        "/run/secrets/identity.pem",
    )  # fmt: skip
    ic_root_key: str = _named(
        "IC_ROOT_KEY", "hex of the root key in DER; default: the mainnet's. 'fetch' asks IC_URL "
        "for it, which is allowed for a replica on this machine only",
        "308182301d06…", MAINNET_ROOT_KEY,
    )  # fmt: skip
    home: str = _named(
        "EDGEKEEPER_HOME", "where runs, reports and checkpoints are kept: a path or an fsspec URL",
        "/var/lib/edgekeeper", ".edgekeeper",
    )  # fmt: skip
    task_runner: str = _named(
        "EDGEKEEPER_TASK_RUNNER", "threads, dask, dask:<scheduler address>, ray or ray:<address>",
        "threads", "threads",
    )  # fmt: skip
    grace_minutes: int = _named(
        "EDGEKEEPER_GRACE_MINUTES", "objects and memory rows younger than this are in flight; 0: "
        "none are", "60", 60, ge=0,
    )  # fmt: skip
    stuck_minutes: int = _named(
        "EDGEKEEPER_STUCK_MINUTES", "an edge that has been migrating for longer is stuck", "30",
        30, ge=0,
    )  # fmt: skip
    breaker_percent: float = _named(
        "EDGEKEEPER_BREAKER_PERCENT", "percent of a store's present edges that one run may take "
        "away", "1.0", 1.0, ge=0, le=100,
    )  # fmt: skip
    verify_budget: Annotated[int, NoDecode] = _named(
        "EDGEKEEPER_VERIFY_BUDGET", "bytes hashed per audit, or all", "5GB", 0
    )
    verify_minutes: float | None = _named(
        "EDGEKEEPER_VERIFY_MINUTES", "minutes after which an audit begins to read nothing more; "
        "default: no limit", "120", None, gt=0,
    )  # fmt: skip
    verify_within_days: float | None = _named(
        "EDGEKEEPER_VERIFY_WITHIN_DAYS", "days within which every verified copy is to be verified "
        "again: an older one fails a quality check; default: after 180 days one is only noted",
        "90", None, gt=0,
    )  # fmt: skip
    blob_plan: BlobPlan = _named(
        "EDGEKEEPER_BLOB_PLAN", "Vercel plan whose rates are kept under: hobby, pro, enterprise or "
        "unlimited", "pro", "hobby",
    )  # fmt: skip
    heartbeat_url: SecretStr | None = _named(
        "EDGEKEEPER_HEARTBEAT_URL", "fetched at the end of every completed audit",
        "https://hc-ping.com/<uuid>",
    )  # fmt: skip
    blob_ignore: Annotated[tuple[str, ...], NoDecode] = _named(
        "EDGEKEEPER_BLOB_IGNORE", "comma-separated path prefixes in the blob store that are not "
        "memories", "avatars,reports/", (),
    )  # fmt: skip
    icp_capsule: str | None = _named(
        "EDGEKEEPER_ICP_CAPSULE", "the capsule that Store Forever writes to; default: the "
        "identity's own", "capsule_1730000000",
    )  # fmt: skip
    icp_gone_capsules: Annotated[tuple[str, ...], NoDecode] = _named(
        "EDGEKEEPER_ICP_GONE_CAPSULES", "comma-separated ids of capsules that are known to be gone "
        "for good: where the canister certifies it, what the ledger has in them is missing instead "
        "of unknown", "capsule_1700000000,capsule_1710000000", (),
    )  # fmt: skip
    notify_url: Annotated[tuple[SecretStr, ...], NoDecode] = _named(
        "EDGEKEEPER_NOTIFY_URL", "Apprise URL(s) for the summary, comma-separated",
        "slack://token-a/token-b/token-c", (),
    )  # fmt: skip
    notify_when: Literal["needed", "always"] = _named(
        "EDGEKEEPER_NOTIFY_WHEN", "needed: a message only where somebody has to do something, or "
        "all is well again; always: one for every completed audit", "always", "needed",
    )  # fmt: skip
    ic_rate: int = _named(
        "EDGEKEEPER_IC_RATE", "canister requests in flight at once", "10", 10, ge=1, le=500
    )
    api_token: SecretStr | None = _named(
        "EDGEKEEPER_API_TOKEN", "bearer token of serve; without it serve binds to loopback only",
        "a long random text",
    )  # fmt: skip

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        """Refuses what no file name or JSON can hold: a NUL, and bytes that are no UTF-8."""
        for each in value if isinstance(value, tuple) else (value,):  # of a list each part
            text = each.get_secret_value() if isinstance(each, SecretStr) else each
            if isinstance(text, str) and ("\0" in text or _SURROGATE.search(text)):
                raise ValueError("it is no text in UTF-8")
        return value

    @field_validator("home")
    @classmethod
    def _is_home(cls, value: str) -> str:
        try:
            local_path(value)
        except RuntimeError:
            raise ValueError("there is no such home directory") from None
        return value

    @field_validator("database_url", "database_url_unpooled")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        require_protection(parameters_of(value.get_secret_value()))
        return value

    @field_validator("blob_token")
    @classmethod
    def _is_blob_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("it does not have the form of a read-write token")
        return value

    @field_validator("blob_api_url", "ic_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        _require_http(value)
        if "@" in urlsplit(value).netloc:
            raise ValueError("a user or password has no place in it; leave that out")
        return value.rstrip("/")

    @field_validator("heartbeat_url")
    @classmethod
    def _is_heartbeat(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _require_http(value.get_secret_value())
        return value

    @field_validator("canister_id")
    @classmethod
    def _is_principal(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z2-7]{5}(-[a-z2-7]{1,5})*", value):
            raise ValueError("it is no canister id")
        return value

    @field_validator("ic_root_key")
    @classmethod
    def _is_root_key(cls, value: str, info: ValidationInfo) -> str:
        if value == "fetch" and not is_loopback(info.data.get("ic_url", "")):
            raise ValueError(
                "fetch is for a replica on this machine: a key fetched over the network proves "
                "nothing. Leave it unset for the mainnet"
            )
        if value != "fetch" and not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", value):
            raise ValueError("it is neither hex nor 'fetch'")
        return value.lower()

    @field_validator("task_runner")
    @classmethod
    def _is_runner(cls, value: str) -> str:
        known = re.fullmatch(r"threads|(?:dask|ray)(?::(?P<address>[^\s\\@]+))?", value)
        if known is None:
            raise ValueError("it is none of threads, dask, dask:<address>, ray, ray:<address>")
        address = known["address"] or ""
        try:
            parts = urlsplit(address if "://" in address else f"tcp://{address}")
            usable = not address or (bool(parts.hostname) and parts.port != 0)
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("its address is none of the form host:port or scheme://host:port")
        return value

    @field_validator("verify_budget", mode="before")
    @classmethod
    def _is_budget(cls, value: Any) -> Any:
        return byte_budget(value) if isinstance(value, str) else value

    @field_validator("blob_ignore", "icp_gone_capsules", "notify_url", mode="before")
    @classmethod
    def _is_comma_separated(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def blob_store_id(self) -> str | None:
        """The blob store's id, the fourth part of the token."""
        match = _TOKEN.fullmatch(self.blob_token.get_secret_value()) if self.blob_token else None
        return match["store_id"] if match else None

    def store_name(self, backend: Backend) -> str | None:
        """What the settings call a store, None where they name none; the database has no name."""
        named = {Backend.BLOB: self.blob_store_id, Backend.ICP: self.canister_id}
        return named.get(backend)

    @property
    def blob_address(self) -> BlobAddress | None:
        """Which URLs are the blob store's own; None where the store is not configured."""
        if self.blob_store_id is None:
            return None
        parts = urlsplit(self.blob_api_url)
        default = Settings.model_fields["blob_api_url"].default
        if self.blob_api_url == default:
            return BlobAddress(self.blob_store_id)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return BlobAddress(self.blob_store_id, f"{parts.hostname}:{port}")

    @property
    def batch_database_url(self) -> str:
        """The connection string for batch work.

        Raises SettingsError where there is no database at all.
        """
        url = self.database_url_unpooled or self.database_url
        if url is None:
            raise SettingsError(missing("database_url"))
        return url.get_secret_value()

    def home_path(self) -> Path:
        """``home`` as a local path."""
        return local_path(self.home)


def variable(field: str) -> str:
    """The environment variable that ``field`` is read from."""
    alias = Settings.model_fields[field].validation_alias
    assert isinstance(alias, AliasChoices)  # noqa: S101 - every field is made by _named
    return str(alias.choices[0])


def missing(field: str) -> str:
    """What to say where a setting that is needed is not there."""
    info = Settings.model_fields[field]
    return (
        f"{variable(field)} is not set ({info.description}). Example: {(info.examples or [''])[0]}"
    )


def masked(settings: Settings) -> dict[str, str]:
    """The effective settings by variable, secrets masked: fit to be shown and kept."""
    shown = {}
    for field in Settings.model_fields:
        value = getattr(settings, field)
        secret = isinstance(value, SecretStr) or (
            isinstance(value, tuple) and any(isinstance(each, SecretStr) for each in value)
        )
        text = ",".join(value) if isinstance(value, tuple) and not secret else value
        said = "" if text is None else _without_token(without_passwords(str(text)))
        shown[variable(field)] = "set" if secret else said
    return shown


def _without_token(text: str) -> str:
    """``text`` without what looks like a store's token: it may stand under a wrong name."""
    return MASK if _TOKEN.search(text) else text


def without_passwords(text: str) -> str:
    """``text`` with the password of every URL in it masked, in time proportional to its length.

    Of a URL without its scheme too: so it may be written by mistake.
    """
    return _WORD.sub(_without_password, text) if "//" in text and "@" in text else text


def _without_password(word: re.Match[str]) -> str:
    """A word in which a URL names a user and a password; these may hold any sign, an @ too."""
    last = word[0].rfind("@")
    user = _USER.search(word[0], 0, max(last, 0))
    return word[0] if user is None else f"{word[0][: user.end()]}{MASK}{word[0][last:]}"


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Reads and checks the settings; ``overrides`` (by field name) win over everything.

    Raises SettingsError with one line per problem, naming the variable and an example; no value is
    ever repeated in it, since any of them may be a secret.
    """
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    except (UnicodeDecodeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise SettingsError(
            f"{env_file} could not be read: {reason}. Mend it, or take it away and set the "
            "variables in the environment"
        ) from None


def _explain(problem: Any) -> str:
    """One line about one setting that was not accepted."""
    name = str(problem["loc"][0]) if problem["loc"] else "?"
    field = next((f for f in Settings.model_fields if name in (f, variable(f))), None)
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input", "it")
    if field is None:
        return f"{name}: {message}"
    example = (Settings.model_fields[field].examples or [""])[0]
    return f"{variable(field)} is not usable: {message}. Example: {example}"
