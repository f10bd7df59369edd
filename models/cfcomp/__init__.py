"""CF-Comp, training on counterfactual compositions: training pairs, selection, composition, loss and the trainer."""

import models.synthesis  # noqa: F401  (before diffusers is imported anywhere: it switches remote code off)
