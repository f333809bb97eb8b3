"""What services are built from; it lives in `robot_rl.wire`, where policies can reach it too."""

from robot_rl.wire.latest import Latest, Publisher
from robot_rl.wire.rpc import Later, Reply, RpcClient, RpcServer

__all__ = ["Later", "Latest", "Publisher", "Reply", "RpcClient", "RpcServer"]
