"""CF-Comp, training on counterfactual compositions: training pairs, selection, composition and loss."""
