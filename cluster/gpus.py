"""Whether the Ray cluster has GPUs, so that no job waits for one for ever."""

import sys

import ray
from ray._private import worker  # tells, as nothing public does, who started a cluster

from cluster.connection import connect


def may_have_gpus() -> bool:
    """Whether the cluster has a GPU or may get one; prints a line if a job will wait for it.

    A cluster that others have started may grow; that of this process alone does not.
    """
    connect()
    if ray.cluster_resources().get("GPU"):
        return True
    if worker._global_node is not None and worker._global_node.is_head():
        return False
    print("the cluster has no GPU yet: waiting for a node with one to join", file=sys.stderr)
    return True
