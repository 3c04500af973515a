import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.core.errors import ShapeError


def test_columns_are_the_known_ones_in_order():
    emitters = Emitters(np.zeros(3), np.ones(3), p_real=np.full(3, 0.5), photons=np.full(3, 9.0))
    assert len(emitters) == 3
    assert list(emitters.columns()) == ["x_nm", "y_nm", "photons", "p_real"]
    np.testing.assert_array_equal(emitters.columns()["photons"], [9.0] * 3)


@pytest.mark.parametrize("column", ["photons", "frames_on", "bleach_frame", "sd_x_nm", "p_real"])
def test_a_column_of_another_length_is_refused(column):
    with pytest.raises(ShapeError, match=rf"equally long.*'{column}': 2"):
        Emitters(np.zeros(3), np.zeros(3), **{column: np.zeros(2)})


def test_positions_of_unequal_length_are_refused():
    with pytest.raises(ShapeError, match="equally long"):
        Emitters(np.zeros(3), np.zeros(4))
