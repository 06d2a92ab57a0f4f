"""The words of the journal: what systemd, the kernel and K3s write when they start, stop and go on."""

from __future__ import annotations

import random
from datetime import UTC, datetime

NO_SERVER = (
    "Failed to validate connection to cluster at https://192.168.15.110:6443: failed to get CA certs: "
    'Get \\"https://127.0.0.1:6444/cacerts\\": dial tcp 127.0.0.1:6444: connect: connection refused'
)


def klog(at: datetime, message: str, level: str = "info") -> str:
    """A line of K3s's own log; lines of the kubelet inside it come as they are."""
    if message[:1] in "IWE" and message[1:5].isdigit():
        return message
    return f'time="{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" level={level} msg="{message}"'


def _kubelet(file: str, message: str) -> str:
    now = datetime.now(UTC)
    return f"I{now:%m%d %H:%M:%S.%f}    1012 {file}] {message}"


def starting(server: bool, version: str, name: str, ip: str) -> list[str]:
    """What K3s says from its start until it is ready."""
    own = (
        [
            f"Starting k3s {version} (4f8b2c71)",
            "Managed etcd cluster bootstrap already complete and initialized",
            "Running kube-apiserver --advertise-port=6443 --allow-privileged=true --authorization-mode=Node,RBAC --secure-port=6444",
            "Running kube-scheduler --kubeconfig=/var/lib/rancher/k3s/server/cred/scheduler.kubeconfig --leader-elect=false",
            "Running kube-controller-manager --cluster-cidr=10.42.0.0/16 --service-cluster-ip-range=10.43.0.0/16",
            "Kube API server is now running",
            "ETCD server is now running",
        ]
        if server
        else [
            f"Starting k3s agent {version} (4f8b2c71)",
            "Adding server to load balancer k3s-agent-load-balancer: 192.168.15.110:6443",
            "Running load balancer k3s-agent-load-balancer 127.0.0.1:6444 -> [192.168.15.110:6443]",
        ]
    )
    return [
        *own,
        "Module overlay was already loaded",
        "Logging containerd to /var/lib/rancher/k3s/agent/containerd/containerd.log",
        "Running containerd -c /var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        "containerd is now running",
        f"Running kubelet --cloud-provider=external --hostname-override={name} --node-ip={ip} --kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
        "Remotedialer connected to proxy",
        _kubelet("server.go:1262", '"Started kubelet"'),
        _kubelet("kubelet_node_status.go:78", f'"Successfully registered node" node="{name}"'),
        f"{'k3s' if server else 'k3s agent'} is up and running",
    ]


def stopping(pid: int) -> list[str]:
    return [f'time="{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" level=info msg="Shutdown request received, pid {pid}"']


def left_over(unit: str, dice: random.Random) -> list[str]:
    """systemd's remark on the containers that go on running (KillMode=process)."""
    return [f"{unit}: Unit process {dice.randrange(1100, 30000)} (containerd-shim) remains running after unit stopped." for _ in range(3)]


def booting(kernel: str) -> list[str]:
    return [
        f"Linux version {kernel} (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT_DYNAMIC Debian",
        f"Command line: BOOT_IMAGE=/boot/vmlinuz-{kernel} root=UUID=5f0c8a52-5d4c-4a55-9d9d-c01d7a1c01d7 ro quiet",
        "systemd[1]: Detected architecture x86-64.",
        "EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.",
    ]


_ANYWHERE = (
    ("systemd", "Starting fstrim.service - Discard unused blocks on filesystems from /etc/fstab..."),
    ("systemd", "Started apt-daily.service - Daily apt download activities."),
    ("CRON", "(root) CMD (cd / && run-parts --report /etc/cron.hourly)"),
    ("systemd-timesyncd", "Contacted time server 192.168.15.1:123 (192.168.15.1)."),
)
_SERVER = (
    ("k3s", "Saving etcd snapshot metadata to ConfigMap"),
    ("k3s", "Handling backend connection request"),
    ("k3s", "Labels and annotations have been set successfully on node"),
)
_AGENT = (
    ("k3s", "Updated load balancer k3s-agent-load-balancer server addresses -> [192.168.15.110:6443]"),
    ("k3s", "Image garbage collection: disk usage is below the threshold"),
    ("k3s", "Tunnel authorizer set Kubelet Port 10250"),
)


def murmur(server: bool, dice: random.Random) -> tuple[str, str]:
    """Who says what when nothing happens."""
    return dice.choice(_ANYWHERE + (_SERVER if server else _AGENT) * 2)
