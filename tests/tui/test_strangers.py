"""An unknown host, met through the real site: the wiring's Site, the SSH adapter and a host of the lab."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.config.settings import KubeSection
from coldtui.domain.errors import HostKeyChanged
from coldtui.wiring import open_site
from tests.adapters.ssh.servers import NODE, LabHost, Place, public_words, write_key


def test_a_host_is_unknown_until_its_key_is_taken_and_then_known(tmp_path: Path) -> None:
    """The site tells the key that an unknown host shows; once it is kept the host is known, and a changed key is no stranger but an error."""
    key = write_key(tmp_path / "id_site")
    server = LabHost(tmp_path, key)
    place = Place(tmp_path, server, key)
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n")
    server.start()
    try:
        config = replace(place.config(), kube=KubeSection(kubeconfig=str(tmp_path / "kubeconfig")))
        site = open_site(config, {"COLDTUI_STATE": str(tmp_path / "state"), "HOME": str(tmp_path)})
        shown = asyncio.run(site.unknown_key(NODE))
        assert shown is not None
        assert shown.line == f"{place.host} {public_words(server.host_key)}"
        assert shown.fingerprint.startswith("ED25519 SHA256:")
        assert not place.known_hosts.exists()
        assert site.trust(shown.line) == str(place.known_hosts)
        assert asyncio.run(site.unknown_key(NODE)) is None
        place.new_host_key()
        with pytest.raises(HostKeyChanged):
            asyncio.run(site.unknown_key(NODE))
    finally:
        server.close()
