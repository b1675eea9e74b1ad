"""The table of what jobs need in docs/scale.md is what the script gives."""

from pathlib import Path

import yaml

from benchmarks.compute import HEAD, WORKS, rows

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_page_has_the_table_that_the_script_prints() -> None:
    page = (REPOSITORY / "docs" / "scale.md").read_text()
    assert "\n".join(rows((1e6, 1e8))) in page


def test_nodes_are_those_of_the_cluster_and_no_more() -> None:
    groups = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["available_node_types"]
    most = {group["node_config"]["InstanceType"]: group["max_workers"] for group in groups.values()}
    for work in WORKS:
        assert work.instance == HEAD or work.most_nodes == most[work.instance]
