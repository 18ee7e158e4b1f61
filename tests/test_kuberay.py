"""The KubeRay manifest of the documents is one that Kubernetes and KubeRay would take.

What is Kubernetes' own, the pods and the volume claim, is held to its published schema (strict: a
field that it does not know is a mistake). The schema of a RayCluster itself is not in any package;
its fields below were copied by hand from KubeRay's API reference (1.5.1), so a field that is not
used here is not in it. No cluster is asked.
"""

import copy
import re
from typing import Any

import jsonschema
import pytest
import yaml
from search_kit import ROOT

from nas.store.engine import resolve

MANIFEST = ROOT / "docs/guides/kuberay.yaml"
KUBERNETES = "1.33"
STARTING = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
WORKERS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
    "properties": {
        "groupName": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "rayStartParams": STARTING,
        "template": {"type": "object"},
    },
}
RAY_CLUSTER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["headGroupSpec"],
            "properties": {
                "rayVersion": {"type": "string"},
                "authOptions": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"mode": {"enum": ["disabled", "token"]}},
                },
                "enableInTreeAutoscaling": {"type": "boolean"},
                "autoscalerOptions": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "idleTimeoutSeconds": COUNT,
                        "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
                    },
                },
                "headGroupSpec": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["template"],
                    "properties": {"rayStartParams": STARTING, "template": {"type": "object"}},
                },
                "workerGroupSpecs": {"type": "array", "minItems": 1, "items": WORKERS},
            },
        },
    },
}


def documents() -> dict[str, Any]:
    """Return the manifest's documents by their kind."""
    return {one["kind"]: copy.deepcopy(one) for one in yaml.safe_load_all(MANIFEST.read_text())}


def pods() -> list[dict[str, Any]]:
    """Return the pods of the head and of the workers."""
    spec = documents()["RayCluster"]["spec"]
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def check(document: dict[str, Any]) -> None:
    """Hold a document to Kubernetes' own schema."""
    kubernetes = pytest.importorskip("kubernetes_validate", reason="it brings Kubernetes' schemas")
    kubernetes.validate(document, KUBERNETES, strict=True)


def as_pod(template: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's template as a pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **template}


def test_the_cluster_has_the_fields_of_a_ray_cluster() -> None:
    """Nothing is misspelt or missing in the RayCluster, and it scales."""
    cluster = documents()["RayCluster"]
    jsonschema.validate(cluster, RAY_CLUSTER)
    assert cluster["spec"]["enableInTreeAutoscaling"]
    workers = cluster["spec"]["workerGroupSpecs"][0]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_a_misspelt_field_would_be_seen() -> None:
    """The checks can fail: a field that Ray's cluster or a pod does not have is refused."""
    cluster = documents()["RayCluster"]
    cluster["spec"]["workerGroupSpecs"][0]["maxReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(cluster, RAY_CLUSTER)
    pod = as_pod(pods()[0])
    pod["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(Exception, match="resource"):
        check(pod)


@pytest.mark.parametrize("index", [0, 1], ids=["head", "workers"])
def test_the_pods_are_pods(index: int) -> None:
    """Each pod keeps to Kubernetes' schema, asks for what it needs, and mounts what it names."""
    template = pods()[index]
    check(as_pod(template))
    (container,) = template["spec"]["containers"]
    for what in ("requests", "limits"):
        for amount in container["resources"][what].values():
            assert re.fullmatch(r"\d+(m|Mi|Gi)?", amount)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}


def test_the_volume_is_shared() -> None:
    """Every pod claims the one volume of the manifest, which many machines may write."""
    claim = documents()["PersistentVolumeClaim"]
    check(claim)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    claimed = {
        volume["persistentVolumeClaim"]["claimName"]
        for template in pods()
        for volume in template["spec"]["volumes"]
    }
    assert claimed == {claim["metadata"]["name"]}


def test_the_store_comes_from_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pod has the store's URL from a Secret, under the name that `nas` reads."""
    for template in pods():
        (variable,) = template["spec"]["containers"][0]["env"]
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "nas-store", "key": "NAS_STORE"}
        monkeypatch.setenv(variable["name"], "postgresql://me@db/nas")
        assert resolve(None) == "postgresql://me@db/nas"
    assert "postgresql" not in MANIFEST.read_text()


def test_the_version_of_ray_is_the_one_that_is_tested() -> None:
    """The cluster's Ray and its image are of the version in constraints.txt."""
    pinned = re.search(r"^ray(?:\[\S+\])?==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    images = {container["image"] for pod in pods() for container in pod["spec"]["containers"]}
    assert images == {f"nas-ray:{pinned[1]}"}
    assert documents()["RayCluster"]["spec"]["rayVersion"] == pinned[1]
