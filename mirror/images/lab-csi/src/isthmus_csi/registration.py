"""Tells the kubelet that this host has the driver: it finds the socket in its registry folder and asks it."""

from __future__ import annotations

import logging
import os
from typing import Any

import grpc
import pluginregistration_pb2 as kubelet
import pluginregistration_pb2_grpc

from isthmus_csi import DRIVER

logger = logging.getLogger("isthmus.csi")

VERSIONS = ("1.0.0",)
"""Of CSI, as kubelets number it: all of 1.x."""


class Registration(pluginregistration_pb2_grpc.RegistrationServicer):
    """`endpoint`: the driver's socket as the host's own file system names it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def GetInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        return kubelet.PluginInfo(type="CSIPlugin", name=DRIVER, endpoint=self.endpoint, supported_versions=VERSIONS)

    def NotifyRegistrationStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        if not request.plugin_registered:
            # The kubelet does not ask again; a new process makes a new socket, which it does ask.
            logger.error("the kubelet refuses the driver: %s", request.error)
            os._exit(1)
        logger.info("the kubelet knows the driver")
        return kubelet.RegistrationStatusResponse()
