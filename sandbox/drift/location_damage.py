"""Damage to where files are: the app's url, the ledger's location and the file itself part ways."""

from dataclasses import replace

from sandbox.batch import object_url, stored_object
from sandbox.content import Generated
from sandbox.dataset import File
from sandbox.drift.bench import Bench, Candidate
from sandbox.drift.ledger_damage import HAS_FILE, NOT_ON_ICP, ON_ICP, set_row
from sandbox.drift.object_damage import object_of
from sandbox.drift.registry import damages


@damages("location_conflict")
def _file_moved_by_the_app(bench: Bench) -> bool:
    """File and url are elsewhere, and nobody told the ledger: nothing is missing."""
    memory = bench.pick(HAS_FILE)
    if memory is None:
        return False
    obj = object_of(bench, memory)
    new = _elsewhere(obj.pathname, "moved")
    bench.later.append(lambda: bench.blob.replace(replace(obj, pathname=new)))
    bench.later.append(lambda: bench.blob.delete([obj.pathname]))
    return _point_url(bench, memory, new)


@damages("location_conflict")
def _photo_replaced_under_another_name(bench: Bench) -> bool:
    """The url names the new file, the ledger the old one, which is still there."""
    memory = bench.pick(HAS_FILE)
    if memory is None:
        return False
    obj = object_of(bench, memory)
    body = Generated(f"drift/{memory.memory_id}/new", obj.size + 1)
    new = File(_elsewhere(obj.pathname, "new"), obj.content_type, body, bench.ms_ago(20))
    bench.later.append(lambda: bench.blob.replace(stored_object(new)))
    return _point_url(bench, memory, new.pathname)


@damages("location_conflict")
def _url_of_a_file_that_never_came(bench: Bench) -> bool:
    memory = bench.pick(HAS_FILE)
    if memory is None:
        return False
    pathname = object_of(bench, memory).pathname
    return _point_url(bench, memory, _elsewhere(pathname, "never came"))


@damages("moved")
def _only_file_moved(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {NOT_ON_ICP} AND {HAS_FILE}")
    return memory is not None and _move_unseen(bench, memory)


@damages("moved")
def _file_of_a_copied_memory_moved(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {ON_ICP} AND {HAS_FILE}")
    return memory is not None and _move_unseen(bench, memory)


def _move_unseen(bench: Bench, memory: Candidate) -> bool:
    """The file gets another name; neither the url nor the ledger is told."""
    obj = object_of(bench, memory)
    new = _elsewhere(obj.pathname, "tidied")
    bench.later.append(lambda: bench.blob.replace(replace(obj, pathname=new)))
    bench.later.append(lambda: bench.blob.delete([obj.pathname]))
    bench.report("moved", memory.blob)
    return True


def _elsewhere(pathname: str, why: str) -> str:
    """Another name in the same folder."""
    folder, _, name = pathname.rpartition("/")
    return f"{folder}/{why} {name}"


def _point_url(bench: Bench, memory: Candidate, pathname: str) -> bool:
    url = object_url(bench.directory.blob_origin, pathname)
    set_row(bench, memory, "url = %s", url)
    bench.report_asset("location_conflict", memory)
    return True
