"""The switchover on a real kube-apiserver with the operator's own CRDs: real servers behind its Cluster, asked for from the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.controlplane.plane import ControlPlane, lab_crds
from tests.lab.apiserver.site import MERGE, Client
from tests.whole.ground import Json, command, until
from tests.whole.recorder import Recorder
from tests.whole.servers import CLUSTER, HEALTHY, STOPPED
from tests.whole.test_postgres_live import watching

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(400)]


OPERATOR = "/apis/apps/v1/namespaces/cnpg-system/deployments/cnpg-controller-manager"


@contextmanager
def played(plane: ControlPlane, folder: Path, socket: Path) -> Iterator[Json]:
    """Machines, operator and servers, as a process; yields what it told."""
    log = folder / "play.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "coldtui.lab.play", str(plane.kubeconfigs["admin"]), "--still", "--postgres", str(folder / "pg"), "--egress", str(socket)],
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()[-2000:]
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_a_switchover(plane_programs: None, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """One status patch, under the version that was planned on, moves the real primary; the watch tells the console's World; a patch under that version again is a conflict."""
    socket = tmp_path / "egress.sock"
    with (
        ControlPlane.start(tmp_path / "plane", crds=lab_crds(), egress=socket) as plane,
        played(plane, tmp_path, socket) as told,
        Recorder(plane.kubeconfigs["admin"], tmp_path / "relay") as relay,
    ):
        admin = Client(plane.kubeconfigs["admin"])

        def status() -> Json:
            found: Json = admin.get(CLUSTER).json["status"]
            return found

        def ready() -> bool:
            found = status()
            operator = admin.get(OPERATOR).json.get("status") or {}
            return found.get("phase") == HEALTHY and found.get("readyInstances") == 3 and bool(operator.get("availableReplicas"))

        until(ready, 120, "the operator runs, and the database is healthy")
        config = tmp_path / "config.yaml"
        kube = {"kubeconfig": str(relay.kubeconfig), "context": "recorded"}
        config.write_text(yaml.safe_dump({"site": {"name": "plane"}, "kube": kube, **told["settings"]}))
        before = status()
        target = next(n for n in before["instanceNames"] if n != before["currentPrimary"])
        late = asyncio.run(_switched(config, tmp_path, target))
        after = status()
        assert (after["currentPrimary"], after["targetPrimary"]) == (target, target)
        assert after["timelineID"] == before["timelineID"] + 1
        record_property("known_by_watch_after_s", round(late, 2))
        assert late < 2.0
        asked = [r for r in relay.matching("PATCH", "/clusters/cold-postgres/status") if r.mutates]
        assert len(asked) == 1
        assert asked[0].json["status"]["targetPrimary"] == target
        assert asked[0].json["metadata"]["resourceVersion"]
        again = admin.patch(f"{CLUSTER}/status", asked[0].json, MERGE)
        assert again.code == 409, again.data
        assert status()["targetPrimaryTimestamp"] == after["targetPrimaryTimestamp"]


async def _switched(config: Path, folder: Path, target: str) -> float:
    """Switch over from the command line; returns how many seconds after its end the watched World has the new primary."""
    async with watching(config, folder) as live:
        await live.until(lambda w: "database/cold-postgres" in w.pg_clusters.items, 20)
        done = await asyncio.to_thread(
            command,
            folder / "desk",
            "--config",
            str(config),
            "postgres",
            "switchover",
            "--to",
            target,
            "--reason",
            "a test",
            "--yes",
            target,
        )
        assert done.code == 0, done.out + done.err
        assert STOPPED.search(" ".join(done.out.split())), done.out
        began = time.monotonic()
        await live.until(lambda w: w.pg_clusters.items["database/cold-postgres"].current_primary == target, 10)
        return time.monotonic() - began
