"""What comes from zuko leaves torch.distributions as it was."""

import subprocess
import sys

PROGRAM = """
import torch
import googol.distributions.flows
from torch.distributions import Normal
try:
    Normal(0.0, -1.0)
except ValueError:
    print("validated")
"""


def test_arguments_of_other_distributions_are_still_validated():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "validated"
