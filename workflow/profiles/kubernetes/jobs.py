"""Jobs of the workflow on Kubernetes: hands one over and prints its name, or says how it is."""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any


def manifest(asked: argparse.Namespace) -> dict[str, Any]:
    """Describe a job that runs a script of this folder once; trying again is the workflow's."""
    limits = {"cpu": str(asked.cpus), "memory": f"{asked.memory}M"}
    if asked.gpus:
        limits[f"{asked.maker}.com/gpu"] = str(asked.gpus)
    container = {
        "name": "job",
        "image": asked.image,
        "command": ["/bin/sh", asked.script],
        "workingDir": str(Path.cwd()),
        "resources": {"requests": limits, "limits": limits},
        "volumeMounts": [{"name": "clone", "mountPath": asked.mounted}],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "clone", "persistentVolumeClaim": {"claimName": asked.claim}}],
    }
    job = {"backoffLimit": 0, "activeDeadlineSeconds": 60 * asked.minutes}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "leadmin-"},
        "spec": job | {"template": {"spec": pod}},
    }


def kubectl(*words: str, **options: Any) -> str:
    """Give what kubectl answers."""
    done = subprocess.run(["kubectl", *words], stdout=subprocess.PIPE, text=True, **options)
    return done.stdout.strip()


def main() -> None:
    """Read the command line that the workflow's engine writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    submit = parts.add_parser("submit")
    for name in ("image", "claim", "mounted"):
        submit.add_argument(f"--{name}", required=True)
    for name in ("cpus", "memory", "minutes", "gpus"):
        submit.add_argument(f"--{name}", type=int, required=True)
    submit.add_argument("--maker", default="nvidia", help="of the GPUs: nvidia or amd")
    submit.add_argument("script")
    parts.add_parser("status").add_argument("job")
    asked = parser.parse_args()
    if asked.part == "submit":
        text = json.dumps(manifest(asked))
        print(kubectl("create", "-f", "-", "-o", "name", input=text, check=True))
        return
    path = "{.status.succeeded},{.status.failed}"
    succeeded, _, failed = kubectl("get", asked.job, "-o", f"jsonpath={path}").partition(",")
    print("success" if succeeded else "failed" if failed else "running")


if __name__ == "__main__":
    main()
