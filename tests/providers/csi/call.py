"""Calls of CSI, made inside the driver's container with the driver's own stubs.

Runs there as `python3.11 - SOCKET CALLS` with this text as its input; CALLS is JSON, a list of
[service, method, request].
"""

from __future__ import annotations

import json
import sys

import csi_pb2
import csi_pb2_grpc
import grpc
from google.protobuf import json_format


def main(socket: str, calls: list[list]) -> None:
    """Prints for each call {"answer": ...} or {"code": ..., "message": ...}."""
    channel = grpc.insecure_channel(f"unix:{socket}")
    for service, method, request in calls:
        stub = getattr(csi_pb2_grpc, f"{service}Stub")(channel)
        message = json_format.ParseDict(request, getattr(csi_pb2, f"{method}Request")())
        try:
            answer = getattr(stub, method)(message, timeout=20, wait_for_ready=True)
            print(json.dumps({"answer": json_format.MessageToDict(answer, preserving_proto_field_name=True)}))
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name, "message": error.details()}))


main(sys.argv[1], json.loads(sys.argv[2]))
