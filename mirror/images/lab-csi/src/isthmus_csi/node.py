"""CSI's Node service: shows a volume to a pod of this host, as a bind mount of its folder in the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import csi_pb2 as csi
import csi_pb2_grpc

from isthmus_csi import btrfs
from isthmus_csi.catalogue import Catalogue
from isthmus_csi.controller import check_capabilities
from isthmus_csi.faults import answered, not_found, required
from isthmus_csi.pool import mounted

Rpc = csi.NodeServiceCapability.RPC

READ_ONLY = (
    csi.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY,
    csi.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY,
)


class Node(csi_pb2_grpc.NodeServicer):
    """One a host."""

    def __init__(self, catalogue: Catalogue, name: str) -> None:
        self.catalogue, self.name = catalogue, name

    @answered
    def NodeGetInfo(self, request: Any) -> Any:  # noqa: ARG002
        return csi.NodeGetInfoResponse(node_id=self.name)

    @answered
    def NodeGetCapabilities(self, request: Any) -> Any:  # noqa: ARG002
        offered = csi.NodeServiceCapability(rpc=Rpc(type=Rpc.GET_VOLUME_STATS))
        return csi.NodeGetCapabilitiesResponse(capabilities=[offered])

    @answered
    def NodePublishVolume(self, request: Any) -> Any:
        required(request, "volume_id", "target_path", "volume_capability")
        check_capabilities([request.volume_capability])
        folder = self.catalogue.folder(self.catalogue.volume(request.volume_id))
        target = Path(request.target_path)
        target.mkdir(parents=True, exist_ok=True)
        if not mounted(target):
            btrfs.run("mount", "--bind", folder, target)
        if request.readonly or request.volume_capability.access_mode.mode in READ_ONLY:
            # Again and not at once: a bind mount takes its flags in a second step. Not left behind half done.
            btrfs.run("mount", "-o", "remount,bind,ro", target)
        return csi.NodePublishVolumeResponse()

    @answered
    def NodeUnpublishVolume(self, request: Any) -> Any:
        required(request, "volume_id", "target_path")
        target = Path(request.target_path)
        while mounted(target):
            btrfs.run("umount", target)
        if target.is_dir():
            target.rmdir()
        return csi.NodeUnpublishVolumeResponse()

    @answered
    def NodeGetVolumeStats(self, request: Any) -> Any:
        required(request, "volume_id", "volume_path")
        record = self.catalogue.volume(request.volume_id)
        if not mounted(Path(request.volume_path)):
            raise not_found(f"{request.volume_id} is not at {request.volume_path}")
        used = btrfs.usage(self.catalogue.folder(record)).used
        usage = csi.VolumeUsage(
            unit=csi.VolumeUsage.BYTES, total=record.size, used=used, available=max(0, record.size - used)
        )
        return csi.NodeGetVolumeStatsResponse(usage=[usage])
