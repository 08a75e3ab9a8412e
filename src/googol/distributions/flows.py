"""zuko's normalizing flows, brought in without what importing zuko does to everybody else's distributions."""

from torch.distributions import Distribution

_validate = Distribution._validate_args

# Importing zuko switches off the validation of arguments in the whole of torch.distributions.
from zuko import flows  # noqa: E402
from zuko.distributions import NormalizingFlow  # noqa: E402
from zuko.transforms import ComposedTransform  # noqa: E402

Distribution.set_default_validate_args(_validate)

__all__ = ["ComposedTransform", "NormalizingFlow", "flows"]
