import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    """Weights and images that a test draws without a seed of its own are those of every run."""
    torch.manual_seed(0)
