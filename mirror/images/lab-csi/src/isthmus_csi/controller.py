"""CSI's Controller service: volumes, snapshots, clones and their growth. Nothing is attached: hosts see all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import csi_pb2 as csi
import csi_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from isthmus_csi.catalogue import Catalogue, Range, Record
from isthmus_csi.faults import Refusal, aborted, answered, invalid, not_found, required

Rpc = csi.ControllerServiceCapability.RPC

OFFERED = (
    Rpc.CREATE_DELETE_VOLUME,
    Rpc.CREATE_DELETE_SNAPSHOT,
    Rpc.CLONE_VOLUME,
    Rpc.EXPAND_VOLUME,
    Rpc.GET_CAPACITY,
    Rpc.LIST_VOLUMES,
    Rpc.LIST_SNAPSHOTS,
)


def check_capabilities(capabilities: Sequence[Any]) -> None:
    """Refuse what a folder cannot be. Any number of hosts may write at once, so every access mode is served."""
    for capability in capabilities:
        if capability.WhichOneof("access_type") != "mount":
            raise invalid("only volumes with a file system are offered, no block devices")
        if capability.mount.fs_type not in ("", "btrfs"):
            raise invalid(f"{capability.mount.fs_type} is not offered; leave the file system's type out")
        if capability.access_mode.mode == csi.VolumeCapability.AccessMode.UNKNOWN:
            raise invalid("a capability has no access mode")


def _range(request: Any) -> Range:
    wanted = request.capacity_range
    if wanted.required_bytes < 0 or wanted.limit_bytes < 0:
        raise invalid("capacity_range is negative")
    return Range(required=wanted.required_bytes, limit=wanted.limit_bytes)


def _source(request: Any) -> str:
    """The id of what a new volume is made from; empty for nothing. Raises Refusal if it cannot be an id."""
    source = request.volume_content_source
    match source.WhichOneof("type"):
        case "snapshot":
            sid, prefix = source.snapshot.snapshot_id, "snap-"
        case "volume":
            sid, prefix = source.volume.volume_id, "vol-"
        case _:
            return ""
    if not sid:
        raise invalid("volume_content_source has no id")
    if not sid.startswith(prefix):
        raise not_found(f"there is no {sid}")
    return sid


def _page(records: list[Record], request: Any) -> tuple[list[Record], str]:
    """The part of a list that a request asks for, and the token of the next part: its place in the list."""
    if request.max_entries < 0:
        raise invalid("max_entries is negative")
    token = request.starting_token
    start = int(token) if token.isdecimal() else 0
    if token and (not token.isdecimal() or start > len(records)):
        raise aborted(f"{token!r} is no token of this list; begin anew")
    end = start + request.max_entries if request.max_entries else len(records)
    return records[start:end], str(end) if end < len(records) else ""


def _volume(record: Record) -> Any:
    source = None
    if record.source.startswith("snap-"):
        source = csi.VolumeContentSource(
            snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=record.source),
        )
    elif record.source:
        source = csi.VolumeContentSource(volume=csi.VolumeContentSource.VolumeSource(volume_id=record.source))
    return csi.Volume(volume_id=record.id, capacity_bytes=record.size, content_source=source)


def _snapshot(record: Record) -> Any:
    made = Timestamp()
    made.FromNanoseconds(int(record.made * 1e9))
    return csi.Snapshot(
        snapshot_id=record.id,
        source_volume_id=record.source,
        size_bytes=record.size,
        creation_time=made,
        ready_to_use=True,
    )


class Controller(csi_pb2_grpc.ControllerServicer):
    """One for the site; a second one that starts while it ends is kept apart by the pool's lock."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    @answered
    def ControllerGetCapabilities(self, request: Any) -> Any:  # noqa: ARG002
        offered = [csi.ControllerServiceCapability(rpc=Rpc(type=kind)) for kind in OFFERED]
        return csi.ControllerGetCapabilitiesResponse(capabilities=offered)

    @answered
    def CreateVolume(self, request: Any) -> Any:
        required(request, "name", "volume_capabilities")
        check_capabilities(request.volume_capabilities)
        if unknown := {*request.parameters, *request.mutable_parameters}:
            raise invalid(f"parameters that mean nothing here: {', '.join(sorted(unknown))}")
        record = self.catalogue.create_volume(request.name, _range(request), _source(request))
        return csi.CreateVolumeResponse(volume=_volume(record))

    @answered
    def DeleteVolume(self, request: Any) -> Any:
        required(request, "volume_id")
        self.catalogue.delete(request.volume_id)
        return csi.DeleteVolumeResponse()

    @answered
    def ValidateVolumeCapabilities(self, request: Any) -> Any:
        required(request, "volume_id", "volume_capabilities")
        self.catalogue.volume(request.volume_id)
        try:
            check_capabilities(request.volume_capabilities)
        except Refusal as refusal:
            return csi.ValidateVolumeCapabilitiesResponse(message=str(refusal))
        confirmed = csi.ValidateVolumeCapabilitiesResponse.Confirmed(volume_capabilities=request.volume_capabilities)
        return csi.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    @answered
    def ListVolumes(self, request: Any) -> Any:
        records, after = _page(self.catalogue.volumes(), request)
        entries = [csi.ListVolumesResponse.Entry(volume=_volume(record)) for record in records]
        return csi.ListVolumesResponse(entries=entries, next_token=after)

    @answered
    def GetCapacity(self, request: Any) -> Any:
        check_capabilities(request.volume_capabilities)
        return csi.GetCapacityResponse(available_capacity=self.catalogue.free())

    @answered
    def CreateSnapshot(self, request: Any) -> Any:
        required(request, "name", "source_volume_id")
        record = self.catalogue.create_snapshot(request.name, request.source_volume_id)
        return csi.CreateSnapshotResponse(snapshot=_snapshot(record))

    @answered
    def DeleteSnapshot(self, request: Any) -> Any:
        required(request, "snapshot_id")
        self.catalogue.delete(request.snapshot_id)
        return csi.DeleteSnapshotResponse()

    @answered
    def ListSnapshots(self, request: Any) -> Any:
        wanted = [
            record
            for record in self.catalogue.snapshots()
            if request.snapshot_id in ("", record.id) and request.source_volume_id in ("", record.source)
        ]
        records, after = _page(wanted, request)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=_snapshot(record)) for record in records]
        return csi.ListSnapshotsResponse(entries=entries, next_token=after)

    @answered
    def ControllerExpandVolume(self, request: Any) -> Any:
        required(request, "volume_id", "capacity_range")
        record = self.catalogue.expand(request.volume_id, _range(request))
        # The quota is the whole size: no file system has to grow on a host.
        return csi.ControllerExpandVolumeResponse(capacity_bytes=record.size, node_expansion_required=False)
