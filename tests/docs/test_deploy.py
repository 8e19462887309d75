"""What stands in `deploy/` fits the server: settings, addresses, ports and options are those there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconvene.config import Settings
from reconvene.server.gate import OPEN_PATHS, Addresses

DEPLOY = Path(__file__).parents[2] / "deploy"
REQUIREMENTS = DEPLOY.parent / "requirements"
SETTINGS = {f"RECONVENE_{name.upper()}" for name in Settings.model_fields}
USED_BY_OTHERS = {"RECONVENE_OTLP_ENDPOINT"}


def read(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    found = [
        doc
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for doc in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    return {(doc["kind"], doc["metadata"]["name"]): doc for doc in found}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "kubernetes/reconvene.yaml"])
def test_every_setting_that_is_used_exists(name: str) -> None:
    used = set(re.findall(r"RECONVENE_[A-Z_]+", read(name)))
    assert used and used <= SETTINGS | USED_BY_OTHERS


def test_the_image_runs_what_is_locked_as_nobody_in_particular() -> None:
    text = read("Containerfile")
    assert "--require-hashes --only-binary :all: -r /tmp/serve.txt" in text
    assert re.search(r"^USER (\d+):\1$", text, re.M) and "STOPSIGNAL SIGTERM" in text
    command = re.search(r"^CMD (\[\"serve.*\])$", text, re.M)
    assert command is not None
    from typer.main import get_command

    from reconvene.cli.main import app

    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = {o for p in serve.params for o in p.opts}
    words = yaml.safe_load(command[1])
    assert {w for w in words if w.startswith("--")} <= options
    port = words[words.index("--port") + 1]
    assert f"EXPOSE {port}" in text and f"'Host': 'localhost:{port}'" in text


def test_what_an_image_gets_is_what_the_project_needs_with_every_extra() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (REQUIREMENTS / name).read_text("utf-8"), re.M))

    serve, dev = pins("serve.txt"), pins("dev.txt")
    assert {"asyncpg", "pgqueuer", "authlib", "opentelemetry-sdk", "fastapi"} <= set(serve)
    assert serve.items() <= dev.items(), "what is served is what was tested"
    assert not {"pytest", "mypy", "hypothesis", "playwright"} & set(serve)


def test_probes_and_health_checks_come_through_the_gate() -> None:
    (container,) = manifests()["StatefulSet", "reconvene"]["spec"]["template"]["spec"]["containers"]
    port = container["ports"][0]["containerPort"]
    hosts = Addresses.of(port, "https://reconvene.example.org").hosts
    for probe in ("startupProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in OPEN_PATHS
        assert {h["name"]: h["value"] for h in asked["httpHeaders"]}["Host"] in hosts
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", "who drains gets no new clients"
    assert "httpGet" not in container["livenessProbe"], "a database that does not answer is no reason to kill a node"
    caddy = read("Caddyfile")
    assert re.search(r"health_uri (\S+)", caddy)[1] in OPEN_PATHS  # type: ignore[index]
    assert re.search(r"Host (\S+)", caddy)[1] in hosts  # type: ignore[index]


def test_two_nodes_share_a_database_and_nothing_is_sticky() -> None:
    composed = yaml.safe_load(read("compose.yaml"))["services"]
    nodes = [name for name in composed if name.startswith("node")]
    assert (
        len(nodes)
        == 2
        == len({composed[n]["hostname"] for n in nodes})
        == len({composed[n]["volumes"][0] for n in nodes})
    )
    assert all(composed[n]["environment"]["RECONVENE_DATABASE"].startswith("postgresql://") for n in nodes)
    upstreams = re.search(r"reverse_proxy ([^{]+)", read("Caddyfile"))
    assert upstreams is not None and upstreams[1].split() == [f"{n}:8000" for n in nodes]
    for text in (read("Caddyfile"), read("kubernetes/reconvene.yaml")):
        assert not re.search(r"ip_hash|lb_policy cookie|sessionAffinity|affinity: cookie", text)


def test_nodes_go_one_at_a_time_and_have_time_to_drain() -> None:
    found = manifests()
    budget, nodes = found["PodDisruptionBudget", "reconvene"]["spec"], found["StatefulSet", "reconvene"]["spec"]
    assert budget["maxUnavailable"] == 1 and budget["selector"] == nodes["selector"]
    pod = nodes["template"]["spec"]
    assert nodes["replicas"] >= 2 and pod["terminationGracePeriodSeconds"] >= 30
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    security = pod["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["capabilities"]["drop"] == ["ALL"]
    mounts = {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    env = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
    assert any(env["RECONVENE_DATA_DIR"].startswith(f"{m}/") for m in mounts), (
        "below a volume, as the volume is the group's"
    )


def test_no_password_stands_in_a_file() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            for found in re.findall(r"postgresql://\w+:([^@\s]+)@", path.read_text("utf-8")):
                assert found.startswith("${") or found == "password", path
