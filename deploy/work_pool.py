"""Turns Prefect's base job template of a work pool into edgekeeper's: from stdin to stdout.

A pool of processes or containers gets the settings from Prefect's secret blocks, by the references
in ``secrets.json``. These stand in the pool and not in a deployment, because a worker resolves
those of its pool when a run begins, while ``prefect deploy`` would put the secrets themselves into
the deployment. A pool of Kubernetes jobs gets them from the Kubernetes secret ``edgekeeper``, since
what a worker resolves would stand in the job's manifest, and a claim of that name for its home.
"""

import json
import sys
from pathlib import Path
from typing import Any

SECRETS = Path(__file__).with_name("secrets.json")
HOME = "/var/lib/edgekeeper"
_USER = 10001  # the image's


def edgekeepers(template: dict[str, Any]) -> dict[str, Any]:
    """``template`` with where its runs get their settings and keep their home; changed in place."""
    manifest = template["job_configuration"].get("job_manifest")
    if manifest is None:
        references = json.loads(SECRETS.read_text("utf-8"))
        template["variables"]["properties"]["env"]["default"] = references
        return template
    pod = manifest["spec"]["template"]["spec"]
    pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": _USER, "fsGroup": _USER}
    pod["volumes"] = [{"name": "home", "persistentVolumeClaim": {"claimName": "edgekeeper"}}]
    (container,) = pod["containers"]
    container["envFrom"] = [{"secretRef": {"name": "edgekeeper"}}]
    container["volumeMounts"] = [{"name": "home", "mountPath": HOME}]
    return template


if __name__ == "__main__":
    json.dump(edgekeepers(json.load(sys.stdin)), sys.stdout, indent=2)
    sys.stdout.write("\n")
