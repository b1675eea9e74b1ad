import warnings

import pytest

from evaluation.report.figures import SIZE, add_legend, draw_points, new_panel, styles


@pytest.mark.parametrize("letters", [5, 20, 45])
@pytest.mark.parametrize("rankers", [2, 14])
def test_a_legend_takes_no_room_from_the_panel(rankers: int, letters: int) -> None:
    figure, panel = new_panel("head", "tail")
    for name, style in styles([f"{row}".zfill(letters) for row in range(rankers)]).items():
        draw_points(panel, name, style, [0.1], [0.2])
    add_legend(figure, panel)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns where no room is left
        figure.draw_without_rendering()
    assert panel.get_window_extent().height / figure.dpi > 0.6 * SIZE[1]
    [legend] = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
