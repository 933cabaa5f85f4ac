"""The commands of the pages that can't be run where the tests run, and why."""

_ENGINE = "wants a Docker engine"
_CLUSTER = "wants a Kubernetes cluster"
NOT_HERE = {
    "prefect cloud login": "wants an account of Prefect Cloud",
    "neonctl auth": "wants an account of Neon and a browser",
    "prefect deploy": "only named, in full in the blocks",
    "python -m benchmarks --record": "writes what tests/benchmarks/test_ratios.py holds to",
    "rclone hashsum sha256 --download": "only named: what benchmarks/rclone.py begins with",
    "docker build --tag edgekeeper .": f"{_ENGINE}, and an image from elsewhere",
    "docker inspect": "only named: shows a container's environment",
    "pip install prefect-docker": f"a worker of its own, which {_ENGINE}",
    "prefect worker start --pool edgekeeper-docker": _ENGINE,
    "pip install prefect-kubernetes": f"a worker of its own, which {_CLUSTER}",
    "prefect worker start --pool edgekeeper-kubernetes": _CLUSTER,
}
