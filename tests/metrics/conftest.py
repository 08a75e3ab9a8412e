"""The data that all tests of metrics share."""

import pytest
from painting import painted_data

from googol.data import Dataset


@pytest.fixture(scope="session")
def painted() -> Dataset:
    """Images with one condition of three values and one number, both plain to see."""
    return painted_data()
