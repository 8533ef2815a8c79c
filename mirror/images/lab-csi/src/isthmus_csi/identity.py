"""CSI's Identity service: who this is and what it offers."""

from __future__ import annotations

from typing import Any

import csi_pb2 as csi
import csi_pb2_grpc
from google.protobuf.wrappers_pb2 import BoolValue

from isthmus_csi import DRIVER
from isthmus_csi.faults import answered
from isthmus_csi.pool import Pool

Service = csi.PluginCapability.Service
Expansion = csi.PluginCapability.VolumeExpansion


class Identity(csi_pb2_grpc.IdentityServicer):
    """No topology: every host sees the pool."""

    def __init__(self, pool: Pool, version: str) -> None:
        self.pool, self.version = pool, version

    @answered
    def GetPluginInfo(self, request: Any) -> Any:  # noqa: ARG002
        return csi.GetPluginInfoResponse(name=DRIVER, vendor_version=self.version)

    @answered
    def GetPluginCapabilities(self, request: Any) -> Any:  # noqa: ARG002
        return csi.GetPluginCapabilitiesResponse(
            capabilities=[
                csi.PluginCapability(service=Service(type=Service.CONTROLLER_SERVICE)),
                csi.PluginCapability(volume_expansion=Expansion(type=Expansion.ONLINE)),
            ]
        )

    @answered
    def Probe(self, request: Any) -> Any:  # noqa: ARG002
        return csi.ProbeResponse(ready=BoolValue(value=self.pool.open))
