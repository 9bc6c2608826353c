"""A real Redis Cluster on this machine, started from a server binary."""

from .binary import ServerBinary, find_server
from .cluster import LocalCluster
from .node import Node
from .server import Server, TlsFiles
from .single import LocalServer

__all__ = ["LocalCluster", "LocalServer", "Node", "Server", "ServerBinary", "TlsFiles", "find_server"]
