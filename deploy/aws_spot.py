"""Nodes on AWS for `ray up` that are bought on demand where there is no spot capacity.

Ray 2.60 asks for a node that EC2 refuses again and again, of the same type: neither of its
autoscalers goes on to another where an instance was refused, only where one was given and did not
come up. So the second attempt is made here, by the provider that cluster.yaml names.
"""

import logging
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

# EC2's codes for no capacity, no quota of spot instances, or a price above the limit.
NO_SPOT = {
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
}
logger = logging.getLogger(__name__)


class SpotOrOnDemand(AWSNodeProvider):  # type: ignore[misc]
    """Ray's provider for AWS, which has tried every subnet of the cluster before it gives up."""

    def create_node(
        self, node_config: dict[str, Any], tags: dict[str, str], count: int
    ) -> dict[str, Any]:
        """Launches nodes; those of the spot market on demand where it has none.

        Args:
            node_config: what EC2's RunInstances takes.
            tags: Ray's, of the nodes.
            count: how many nodes.

        Returns:
            The instances by their ids.

        Raises:
            NodeLaunchException: EC2 refuses for another reason, or refuses on demand as well.
        """
        try:
            created: dict[str, Any] = super().create_node(dict(node_config), dict(tags), count)
        except NodeLaunchException as refusal:
            if "InstanceMarketOptions" not in node_config or refusal.category not in NO_SPOT:
                raise
            logger.warning("no spot capacity (%s): on demand instead", refusal.category)
            on_demand = {
                name: value
                for name, value in node_config.items()
                if name != "InstanceMarketOptions"
            }
            created = super().create_node(on_demand, dict(tags), count)
        return created
