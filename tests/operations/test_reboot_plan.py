"""What the plan of a reboot says: every finding alone, the host's side, unreadable premises. No server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coldtui.domain.errors import ColdError, HostKeyChanged, HostKeyUnknown, NotFound, SecretWanted, StepFailed, Unreachable
from coldtui.domain.plans import Outlook, Plan, Rung, Weight
from coldtui.domain.troubles import LineTrouble
from coldtui.lab.fakes import FakeClock
from coldtui.operations.engine import offline
from coldtui.operations.hosts import HostFacts, Unit
from coldtui.operations.reboot.facts import RebootFacts, blank
from coldtui.operations.reboot.params import RebootNode
from coldtui.operations.reboot.plan import plan_reboot
from coldtui.ports import Self
from tests.operations.drain.scene import NOW, Json, Scene, slot_kinds
from tests.operations.means import ME

W1, W2, W3, MASTER = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3", "k3s-master"
WELL = frozenset({"host.reached", "reboot.nodes", "reboot.pg-primary", "reboot.lh-copies", "reboot.pods", "reboot.single", "reboot.vip"})
"""What is said of k3s-worker-1 of the healthy site, on which the primary runs."""


def host_of(scene: Scene, **changes: object) -> HostFacts:
    """The host of the worker, as it answers when all is well."""
    found = HostFacts(
        scene.worker, NOW, f"root@{scene.worker}:22", boot_id=scene.node(scene.worker)["status"]["nodeInfo"]["bootID"], up_s=90_000.0,
        hostname=scene.worker, units={"k3s-agent": Unit("k3s-agent", True, "active", "running")}, people=(),
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def plan_of(scene: Scene, me: Self = ME, host: HostFacts | None = None, **params: object) -> Plan:
    facts = RebootFacts(scene.facts(), host or host_of(scene), me)
    return plan_reboot(facts, RebootNode(scene.worker, **params), NOW)  # type: ignore[arg-type]


@pytest.fixture
def scene() -> Scene:
    return Scene(W1)


def codes(plan: Plan) -> set[str]:
    return {finding.code for finding in plan.findings}


def told(plan: Plan, code: str) -> tuple[Weight, str, str]:
    (found,) = [f for f in plan.findings if f.code == code]
    return found.weight, found.sentence, found.remedy


def unready(scene: Scene, name: str) -> None:
    for condition in scene.node(name)["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "Unknown"


# ------------------------------------------------------------ as it is


def test_a_reboot_of_a_healthy_node(scene: Scene) -> None:
    """Rung 2, the site's lock, five steps that say what cannot be undone; nothing holds it."""
    plan = plan_of(scene)
    assert codes(plan) == WELL
    assert (plan.title, plan.object, plan.verb, plan.confirm, plan.rung) == (f"Reboot {W1}", f"nodes/{W1}", "reboot", W1, Rung.DISRUPTIVE)
    assert (plan.locks, plan.blocked, plan.outlook) == (("site",), "", Outlook.GO)
    assert [s.name for s in plan.steps] == ["node.cordon", "host.reboot", "host.back", "node.uncordon", "host.well"]
    assert plan.steps[1].note == "cannot be recalled"
    assert plan.steps[3].args["only_ours"] is True
    assert all(p.as_of is not None for p in plan.premises)


def test_without_a_cordon(scene: Scene) -> None:
    """Who wants no cordon gets none, and no uncordon."""
    assert [s.name for s in plan_of(scene, cordon=False).steps] == ["host.reboot", "host.back", "host.well"]


def test_pods_and_workloads(scene: Scene) -> None:
    """How many pods stop without being asked for, and what stands still meanwhile, by name, with the way round it."""
    scene.run("lonely", [W1])
    scene.run("pair", [W1, W2])
    plan = plan_of(scene)
    weight, sentence, remedy = told(plan, "reboot.single")
    assert weight is Weight.WARNING
    assert "shop/lonely" in sentence
    assert "pair" not in sentence
    assert remedy == told(plan, "reboot.pods")[2] == f"coldtui node drain {W1} moves them first"


def test_an_empty_node(scene: Scene) -> None:
    """With nothing but DaemonSets nothing stops."""
    plan = plan_of(scene.bare())
    assert told(plan, "reboot.empty")[0] is Weight.GOOD
    assert not codes(plan) & {"reboot.pods", "reboot.single", "reboot.pg-primary"}


# ------------------------------------------------------------ the site


def primary_alone(scene: Scene) -> None:
    scene.get("Cluster", "cold-postgres", "database")["status"]["readyInstances"] = 1


def cordoned(scene: Scene) -> None:
    scene.node(W1)["spec"]["unschedulable"] = True


def two_are_down(scene: Scene) -> None:
    unready(scene, W3)


def itself_down(scene: Scene) -> None:
    unready(scene, W1)


def replicas(scene: Scene, claim: str) -> list[Json]:
    (volume,) = scene.all("Volume", "longhorn.io", lambda v: v["status"]["kubernetesStatus"].get("pvcName") == claim)
    return scene.all("Replica", "longhorn.io", lambda r: r["spec"]["volumeName"] == volume["metadata"]["name"])


def last_copy(scene: Scene) -> None:
    (volume,) = scene.all("Volume", "longhorn.io", lambda v: v["status"]["kubernetesStatus"].get("pvcName") == "customer-uploads")
    for replica in replicas(scene, "customer-uploads"):
        if replica["spec"]["nodeID"] != W1:
            replica["spec"] |= {"failedAt": "2026-11-24T10:00:00Z", "healthyAt": ""}
    volume["status"]["robustness"] = "degraded"


def degraded(scene: Scene) -> None:
    (volume,) = scene.all("Volume", "longhorn.io", lambda v: v["status"]["kubernetesStatus"].get("pvcName") == "customer-uploads")
    volume["status"]["robustness"] = "degraded"


@pytest.mark.parametrize(
    ("breaks", "code", "weight", "sentence", "outlook"),
    [
        (primary_alone, "reboot.pg-primary", Weight.WARNING,
         "postgres-1 is the PRIMARY of database/cold-postgres, and no other instance is ready: writes fail until the node is back", Outlook.GO),
        (cordoned, "reboot.node-cordoned", Weight.NOTE,
         f"{W1} is cordoned already, and stays so after this: Longhorn rebuilds no copy there until it is uncordoned", Outlook.GO),
        (two_are_down, "reboot.second-node", Weight.WARNING, f"{W3} is NotReady already: with {W1} out too, two nodes are missing", Outlook.GO),
        (itself_down, "reboot.node-not-ready", Weight.NOTE, f"{W1} is NotReady now", Outlook.GO),
        (last_copy, "reboot.lh-last-copy", Weight.STOP,
         f"volume production/customer-uploads has its last good copy on {W1}: it cannot be read or written until the node is back",
         Outlook.WOULD_HANG),
        (degraded, "reboot.lh-degraded", Weight.WARNING, "volume production/customer-uploads is degraded already: 2 good elsewhere", Outlook.GO),
    ],
)  # fmt: skip
def test_what_a_reboot_would_meet(
    scene: Scene, breaks: Callable[[Scene], None], code: str, weight: Weight, sentence: str, outlook: Outlook
) -> None:
    """Each by itself: how it weighs, its words, and what it makes of the whole."""
    breaks(scene)
    plan = plan_of(scene)
    assert told(plan, code)[:2] == (weight, sentence)
    assert plan.outlook is outlook


def test_the_primary_is_missed_and_not_handed_over(scene: Scene) -> None:
    """With replicas ready the gap has a length; the remedy is a switchover."""
    weight, sentence, remedy = told(plan_of(scene), "reboot.pg-primary")
    assert weight is Weight.WARNING
    assert sentence.endswith("it stops without a handover, and writes fail for about 75 s, or until the node is back")
    assert remedy.startswith("switch over")


def test_a_replica(scene: Scene) -> None:
    """How many instances are ready meanwhile; with two left it is no warning."""
    scene.worker = W2
    assert told(plan_of(scene), "reboot.pg-replica")[:2] == (
        Weight.NOTE,
        "postgres-2 is a replica of database/cold-postgres: 2 of 3 instances are ready meanwhile",
    )


def test_the_address_moves(scene: Scene) -> None:
    """Who announces an address here, and who takes over."""
    (status,) = scene.all("ServiceL2Status", "metallb.io")[:1]
    scene.worker = status["status"]["node"]
    weight, sentence, _ = told(plan_of(scene), "reboot.vip")
    assert weight is Weight.WARNING
    assert f"is announced by {scene.worker}: k3s-" in sentence
    assert sentence.endswith("takes over within seconds, and it comes back with the node")


def test_the_only_control_plane(scene: Scene) -> None:
    """The API goes with it; the run waits."""
    scene.worker = MASTER
    weight, sentence, remedy = told(plan_of(scene), "reboot.api-gone")
    assert weight is Weight.WARNING
    assert sentence.startswith(f"{MASTER} is the only control plane: the API is gone until the node is back")
    assert remedy == "the run waits for it, and says so"


def test_an_etcd_majority(scene: Scene) -> None:
    """With two of three servers gone the datastore stands still; with one gone another answers."""
    scene.worker = MASTER
    for name in (MASTER, W1, W2):
        scene.node(name)["metadata"]["labels"] |= {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
    assert told(plan_of(scene), "reboot.control-plane")[:2] == (
        Weight.NOTE,
        f"{MASTER} is a control plane, one of 3: another answers for the API meanwhile",
    )
    unready(scene, W2)
    plan = plan_of(scene)
    assert told(plan, "reboot.etcd-majority")[:2] == (
        Weight.STOP,
        f"etcd loses its majority without {MASTER}: 1 of 3 members are left, and the API is gone until the node is back",
    )
    assert plan.outlook is Outlook.WOULD_HANG


# ------------------------------------------------------------ the host


def test_the_console_runs_there(scene: Scene) -> None:
    """A reboot of the machine that coldtui runs on is announced, by the boot ID; another machine of the same name is not meant."""
    boot = host_of(scene).boot_id
    weight, sentence, remedy = told(plan_of(scene, me=replace(ME, boot_id=boot.upper())), "reboot.console-here")
    assert weight is Weight.WARNING
    assert sentence == f"coldtui itself runs on {W1}: the console ends with the reboot, and the run goes on after the boot"
    assert "start coldtui again" in remedy
    assert "reboot.console-here" not in codes(plan_of(scene, me=replace(ME, hostname=W1)))
    assert "reboot.console-here" in codes(plan_of(scene, me=replace(ME, boot_id="", hostname=W1)))


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (LineTrouble("connection refused by 10.0.0.1:22", kind="refused", hint="does sshd run?"), "host.unreachable", "does sshd run?"),
        (NotFound("no address is known for node k3s-worker-1", hint="set nodes.k3s-worker-1.ssh"), "host.unreachable", "set nodes"),
        (HostKeyUnknown("host key of k3s-worker-1 is not known", fingerprint="ED25519 SHA256:x", line="l", detail="h shows ED25519 SHA256:x"),
         "host.key-unknown", "ED25519 SHA256:x"),
        (HostKeyChanged("host key of k3s-worker-1 has changed", detail="h shows A; f:3 knows B"), "host.key-changed", "f:3"),
        (SecretWanted("key /k: its passphrase is wrong", secret="key//k", wrong=True), "host.unreachable", "passphrase is wrong"),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_used_blocks(scene: Scene, trouble: ColdError, code: str, words: str) -> None:
    """What SSH lacks is the reason why nothing can be confirmed, with its remedy; the rest of the plan is told all the same."""
    plan = plan_of(scene, host=HostFacts(W1, NOW, "root@h:22", trouble))
    assert code in codes(plan)
    assert words in plan.blocked
    assert plan.outlook is Outlook.REFUSED
    assert WELL - {"host.reached"} <= codes(plan)
    assert [p.reason for p in plan.premises if p.name == f"host of {W1} over SSH"] == [trouble.title]


def test_secrets_that_are_wanted_are_named_for_the_face(scene: Scene) -> None:
    """A password of sudo and a passphrase are asked for under their names, and block nothing."""
    sudo = SecretWanted("sudo on k3s-worker-1 wants a password", secret=f"sudo/{W1}", hint="give it")
    plan = plan_of(scene, host=host_of(scene, root=sudo))
    assert [(f.code, f.object) for f in plan.findings if f.code.startswith("needs-secret.")] == [
        ("needs-secret.sudo", f"secrets/sudo/{W1}")
    ]
    assert (plan.blocked, plan.outlook) == ("", Outlook.GO)
    key = SecretWanted("key /k has a passphrase", secret="key//k")
    plan = plan_of(scene, host=HostFacts(W1, NOW, "root@h:22", key))
    assert [(f.code, f.object) for f in plan.findings if f.code.startswith("needs-secret.")] == [("needs-secret.key", "secrets/key//k")]
    assert (plan.blocked, plan.outlook) == ("", Outlook.NOT_EVALUATED)


@pytest.mark.parametrize(
    ("changes", "code", "weight", "words"),
    [
        ({"agent_only": "key X is only in the agent"}, "host.agent-only", Weight.WARNING, "if you log out: key X is only in the agent"),
        ({"inhibitors": ("apt 0 root 702 apt shutdown Upgrade block",)}, "reboot.inhibitor", Weight.WARNING, "forbids a shutdown: apt 0 root"),
        ({"people": ("anna     pts/0        2026-11-24 10:00 (10.0.0.5)",)}, "host.people", Weight.NOTE, "1 terminal in use on k3s-worker-1: anna from 10.0.0.5"),
        ({"boot_id": "00000000-0000-4000-8000-000000000000"}, "host.booted-since", Weight.NOTE, "has booted since its kubelet last reported"),
        ({"root": StepFailed("sudo on k3s-worker-1 refuses", hint="mend sudoers")}, "host.no-root", Weight.STOP, "sudo on k3s-worker-1 refuses"),
        ({"root": Unreachable("timed out")}, "host.no-root", Weight.WARNING, "not evaluated, timed out"),
        ({"boot_id": "00000000-0000-4000-8000-000000000000", "hostname": "somebody-else"}, "host.other-machine", Weight.STOP,
         "is another machine than k3s-worker-1: it calls itself somebody-else"),
    ],
)  # fmt: skip
def test_what_the_host_says(scene: Scene, changes: dict[str, object], code: str, weight: Weight, words: str) -> None:
    """Who could be hurt or could forbid it, and whether it is the right machine at all; a STOP blocks."""
    plan = plan_of(scene, host=host_of(scene, **changes))
    found = told(plan, code)
    assert found[0] is weight
    assert words in found[1]
    assert bool(plan.blocked) is (weight is Weight.STOP)


# ------------------------------------------------------------ what cannot be read


@pytest.mark.parametrize("question", sorted(set(slot_kinds()) - {"attachments", "lh_settings", "lh_engines", "drain_budgets"}))
def test_an_unreadable_premise_is_not_evaluated(scene: Scene, question: str) -> None:
    """Whatever one question is not answered: the plan says so, blocks nothing, and is never simply `go`."""
    scene.errors[question] = Unreachable("timed out")
    plan = plan_of(scene)
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert any("timed out" in f.sentence for f in plan.findings)
    assert plan.blocked == ""


def test_without_an_api_the_host_can_still_be_rebooted() -> None:
    """With nothing but SSH the plan is not evaluated, has no cordon, and can be confirmed: it may be what brings the API back."""
    means = offline(FakeClock(datetime(2026, 11, 24, 12, tzinfo=UTC)), ME)
    facts = RebootFacts(blank(W1, Unreachable("connection refused"), means), host_of(Scene(W1)), ME)
    plan = plan_reboot(facts, RebootNode(W1), NOW)
    assert [s.name for s in plan.steps] == ["host.reboot", "host.back", "host.well"]
    assert (plan.blocked, plan.outlook) == ("", Outlook.NOT_EVALUATED)
    assert told(plan, "reboot.no-api")[1].endswith("connection refused")
