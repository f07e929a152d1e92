"""Checks rendered manifests against the schemas of Kubernetes' oldest and newest supported version.

Strictly: a field that the schema does not know is a mistake. A kind without a schema is one too; those of operators have
theirs in crds.yaml, which knows the fields that we use and no others.

The oldest version is 1.30: since then the kubelet pauses by itself before a container ends (`lifecycle.preStop.sleep`),
which images without a shell need. The newest is the newest that the package knows.

    schemas.py FILE...
"""

import functools
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

OLDEST = "1.30.0"
CRDS = yaml.safe_load((Path(__file__).resolve().parent / "crds.yaml").read_text())

# The package reads its files, some of them large, anew for every object.
utils.schema_contents = functools.cache(utils.schema_contents)


def problem_of(item, version):
    """What is wrong with an object; nothing when it is valid."""
    own = CRDS.get(f"{item['apiVersion']} {item['kind']}")
    try:
        if own:
            jsonschema.Draft202012Validator(own).validate(item)
        else:
            kubernetes_validate.validate(item, version, strict=True)
    except utils.SchemaNotFoundError as error:
        return error.message
    except jsonschema.ValidationError as error:
        return f"{'.'.join(str(step) for step in error.path)}: {error.message}"
    return None


def main(files):
    bad = 0
    for file in files:
        objects = [item for item in yaml.safe_load_all(Path(file).read_text()) if item]
        if not objects:
            print(f"{file}: there is nothing in it")
            bad += 1
        for version in (OLDEST, utils.latest_version()):
            for item in objects:
                problem = problem_of(item, version)
                if problem:
                    print(f"{file}: {item['kind']}/{item['metadata']['name']}: Kubernetes {version}: {problem}")
                    bad += 1
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
