"""The files of `deploy/` name what exists: commands, options, folders, secrets; no image is built.

What is Kubernetes' own is held to its published schema, strictly. Docker and a cluster are not
asked: neither runs where the tests do. docs/guides/deployment.md says what was run by hand.
"""

import re
from typing import Any

import pytest
import typer
import yaml
from search_kit import ROOT

from nas.cli import app

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
STORE = "postgresql+psycopg://nas:"


def compose() -> dict[str, Any]:
    """Return the services of the compose file."""
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def manifests() -> list[dict[str, Any]]:
    """Return the documents of the Kubernetes manifest."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods' specifications by the names of their deployments."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in manifests()
        if one["kind"] == "Deployment"
    }


def commands() -> dict[str, list[str]]:
    """Return every command line of `nas` in the files, by where it stands."""
    ours = {
        f"compose {name}": one["command"] for name, one in compose().items() if "command" in one
    }
    for name, pod in pods().items():
        ours[f"kubernetes {name}"] = pod["containers"][0]["args"]
    last = re.findall(r"^CMD \[(.*)\]$", (DEPLOY / "Dockerfile").read_text(), re.M)[-1]
    return ours | {"Dockerfile": re.findall(r'"([^"]*)"', last)}


@pytest.mark.parametrize("where", sorted(commands()))
def test_the_commands_are_ours(where: str) -> None:
    """Each command line is one that `nas` takes, option by option."""
    command: Any = typer.main.get_command(app)
    words = commands()[where]
    while isinstance(command, typer.core.TyperGroup):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("nas", list(words))


def test_a_wrong_option_would_be_seen() -> None:
    """The check of commands can fail."""
    command: Any = typer.main.get_command(app)
    with pytest.raises(Exception, match="--hots"):
        command.commands["serve"].make_context("nas", ["--hots", "0.0.0.0"])


@pytest.mark.parametrize("index", range(len(manifests())))
def test_the_manifest_is_kubernetes_own(index: int) -> None:
    """Each document keeps to the published schema; a misspelt field is refused."""
    kubernetes = pytest.importorskip("kubernetes_validate", reason="it brings Kubernetes' schemas")
    document = manifests()[index]
    kubernetes.validate(document, KUBERNETES, strict=True)
    document["spec"]["replica"] = 2
    with pytest.raises(Exception, match="replica"):
        kubernetes.validate(document, KUBERNETES, strict=True)


def test_nothing_runs_as_root_or_writes_outside_its_folders() -> None:
    """Containers of ours have no root, no capability, and read-only files but /shared and /tmp."""
    assert re.search(r"^USER 10001$", (DEPLOY / "Dockerfile").read_text(), re.M)
    for service in compose().values():
        if service["image"] == "nas":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["volumes"] == ["shared:/shared"]
            assert service["tmpfs"] == ["/tmp"]
    for pod in pods().values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 10001
        for closed in (
            each["securityContext"] for each in (container, *pod.get("initContainers", []))
        ):
            assert closed["readOnlyRootFilesystem"]
            assert not closed["allowPrivilegeEscalation"]
            assert closed["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }


def test_a_new_volume_gets_the_data_root() -> None:
    """The folder of `--data-root`, without which the server ends, is made where there is none."""
    words = commands()["compose server"]
    root = words[words.index("--data-root") + 1]
    assert re.search(rf"install --directory .* {root}$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert root in commands()["kubernetes nas-server"]
    (before,) = pods()["nas-server"]["initContainers"]
    assert before["command"] == ["mkdir", "--parents", root]
    assert before["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]


def test_containers_end_when_they_are_asked_to() -> None:
    """Process 1 ends at the signal it is sent, and a worker has time to let go of its search."""
    assert "\nSTOPSIGNAL SIGINT\n" in (DEPLOY / "Dockerfile").read_text()
    assert compose()["worker"]["stop_grace_period"] == "60s"
    assert pods()["nas-worker"]["terminationGracePeriodSeconds"] == 60


def test_no_password_is_written_down() -> None:
    """The store's URL comes from the environment or from a Secret, under the name `nas` reads."""
    for service in compose().values():
        for name, value in service.get("environment", {}).items():
            assert "${POSTGRES_PASSWORD:?" in value or name in ("POSTGRES_USER", "POSTGRES_DB")
    assert compose()["server"]["environment"]["NAS_STORE"].startswith(STORE)
    for pod in pods().values():
        (variable,) = pod["containers"][0]["env"]
        assert variable["name"] == "NAS_STORE"
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "nas-store", "key": "NAS_STORE"}


def test_only_a_proxy_reaches_the_ports() -> None:
    """The compose file opens ports on this machine alone; what has no login is not on any other."""
    published = [port for one in compose().values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_copies_what_is_let_through() -> None:
    """The image is built of the files that `.dockerignore` names, and installs extras of ours.

    That these files suffice is told by the wheel that `tests/test_house.py` builds of them.
    """
    text = (DEPLOY / "Dockerfile").read_text()
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M)).split()
    let_through = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert sorted(copied) == sorted(let_through)
    extras = re.search(r"'\.\[(.*)\]'", text)
    declared = (ROOT / "pyproject.toml").read_text()
    assert extras
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", declared, re.M), extra
