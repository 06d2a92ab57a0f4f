"""VIPs: the addresses that MetalLB gives out, who announces each, and who would take over."""

from __future__ import annotations

from typing import ClassVar

from ...domain.objects import Ref
from ...domain.vips import Vip
from ...present import vips as vip_words
from .listings import ListingsScreen, Part


def _ref(item: Vip) -> Ref | None:
    return item.service.ref if item.service is not None else None


class VipsScreen(ListingsScreen):
    PARTS: ClassVar[tuple[Part, ...]] = (Part("vips", vip_words.VIPS, vip_words.describe, _ref, lambda ref: None),)

    def reveal(self, ref: Ref) -> bool:
        """A Service may hold several addresses: its first row."""
        table = self._table_of(self.PARTS[0])
        items = vip_words.VIPS.items(self.world) if self.world is not None else {}
        key = next((key for key, item in items.items() if _ref(item) == ref), None)
        return key is not None and (table.key == key or self._select(table, key))
