"""Serves CSI on a socket: the controller's part, the node's part with its registration at the kubelet, or both."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import csi_pb2_grpc
import grpc
import pluginregistration_pb2_grpc

from isthmus_csi import DRIVER, btrfs
from isthmus_csi.catalogue import Catalogue
from isthmus_csi.controller import Controller
from isthmus_csi.identity import Identity
from isthmus_csi.node import Node
from isthmus_csi.pool import Pool
from isthmus_csi.registration import Registration

logger = logging.getLogger("isthmus.csi")

VERSION = "0.1.0"
THREADS = 4
"""Requests at a time; changes wait for each other anyway."""


def listening(socket: Path) -> grpc.Server:
    """A server on a socket, in the place of the one that an earlier process left."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = grpc.server(ThreadPoolExecutor(max_workers=THREADS))
    server.add_insecure_port(f"unix:{socket}")
    return server


def main() -> None:
    """Ends with status 1 and one line when the pool cannot be had: the kubelet starts it again."""
    parser = argparse.ArgumentParser(prog="isthmus_csi", description="the lab's storage")
    parser.add_argument("--folder", type=Path, required=True, help="what all hosts share; the pool's image is in it")
    parser.add_argument("--mount", type=Path, default=Path("/pool"), help="where this process mounts the pool")
    parser.add_argument("--capacity", type=int, required=True, help="bytes of the pool")
    parser.add_argument("--socket", type=Path, required=True, help="where CSI is served")
    parser.add_argument("--controller", action="store_true", help="serve the controller's part")
    parser.add_argument("--node", metavar="NAME", help="serve the node's part on the host of that name")
    parser.add_argument("--registry", type=Path, help="the kubelet's folder of plugins that register")
    parser.add_argument("--endpoint", help="the socket as the kubelet names it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)

    # Sockets for the driver's group too: the controllers beside it are not root.
    os.umask(0o007)
    pool = Pool(folder=arguments.folder, mount=arguments.mount, capacity=arguments.capacity)
    try:
        pool.attach()
    except (btrfs.Failed, OSError) as error:
        sys.exit(f"isthmus_csi: the pool cannot be had: {error}")
    catalogue = Catalogue(pool)
    servers = [listening(arguments.socket)]
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(pool, VERSION), servers[0])
    if arguments.controller:
        csi_pb2_grpc.add_ControllerServicer_to_server(Controller(catalogue), servers[0])
    if arguments.node:
        csi_pb2_grpc.add_NodeServicer_to_server(Node(catalogue, arguments.node), servers[0])
    if arguments.registry:
        servers.append(listening(arguments.registry / f"{DRIVER}-reg.sock"))
        registration = Registration(arguments.endpoint)
        pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(registration, servers[1])
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    for server in servers:  # the driver first: the kubelet asks it as soon as it has seen the registration
        server.start()
    logger.info("serving %s on %s", DRIVER, arguments.socket)
    ended.wait()
    for server in servers:
        server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
