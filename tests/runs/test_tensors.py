"""The arrays of a pytree by name, and back."""

from pathlib import Path

import numpy as np
import pytest
from saved_states import state

from klamp.errors import CheckpointError
from klamp.runs.tensors import restore_tensors, tensors_of


def test_arrays_have_the_names_of_their_paths() -> None:
    assert list(tensors_of(state(0.5))) == [".theta", ".moments[0]", ".moments[1]"]


def test_another_shape_dtype_or_name_is_refused() -> None:
    tensors, where = tensors_of(state(1.0)), Path("step_1")
    np.testing.assert_array_equal(restore_tensors(state(0.0), tensors, where).theta, np.ones(7))
    narrow = state(0.0)._replace(theta=np.zeros(8, np.float32))
    with pytest.raises(CheckpointError, match=r"float32\[7\], expected float32\[8\].*saved with"):
        restore_tensors(narrow, tensors, where)
    wide = state(0.0)._replace(theta=np.zeros(7))
    with pytest.raises(CheckpointError, match=r"float32\[7\], expected float64\[7\].*precision"):
        restore_tensors(wide, tensors, where)
    with pytest.raises(CheckpointError, match="one side only"):
        restore_tensors((np.zeros(7),), tensors, where)
