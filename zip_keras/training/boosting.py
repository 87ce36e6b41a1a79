"""AdaBoost on RoI features (paper section 4). Scikit-learn is needed to fit, not to predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zip_keras.errors import UserError
from zip_keras.models.boosting import TreeEnsemble
from zip_keras.utils.optional import optional_import


@dataclass(frozen=True)
class BoostOptions:
    """Options of the fit. The paper names AdaBoost but no settings.

    Attributes:
        trees: maximum number of trees; AdaBoost stops early if a tree makes no error.
        depth: maximum depth of a tree.
        learning_rate: factor of the trees' weights.
        max_features: number of features considered per split: "sqrt" or "log2" of all, or "all", which is much
            slower.
        network_share: share of the network in the class score; see `TreeEnsemble.class_scores`.
        seed: random seed of scikit-learn.
    """

    trees: int = 100
    depth: int = 8
    learning_rate: float = 0.5
    max_features: Literal["sqrt", "log2", "all"] = "sqrt"
    network_share: float = 1e-3
    seed: int = 0


def fit_ensemble(
    features: np.ndarray,
    classes: np.ndarray,
    class_names: Sequence[str],
    options: BoostOptions = BoostOptions(),
    record: Mapping[str, Any] | None = None,
) -> TreeEnsemble:
    """Fit AdaBoost (discrete SAMME) of decision trees and return it as a layer.

    Args:
        features: float32 `[n, F]`; may be a memory map.
        classes: `[n]`, 0 for background, 1 to C for classes.
        class_names: names of the C classes.
        options: options of the fit.
        record: metadata to store with the ensemble.

    Raises:
        UserError: scikit-learn is missing, the RoIs have only one class, or no tree is better than chance.
    """
    ensembles = optional_import("sklearn.ensemble", "boosting", "boost")
    trees = optional_import("sklearn.tree", "boosting", "boost")
    present = np.unique(classes)
    if len(present) < 2:
        names = ["background", *class_names]
        raise UserError(
            f"boosting needs RoIs of two classes at least; {len(classes)} RoIs are all of "
            f"{names[int(present[0])] if len(present) else 'no class'}; use more or other images"
        )
    tree = trees.DecisionTreeClassifier(
        max_depth=options.depth, max_features=None if options.max_features == "all" else options.max_features
    )
    ensemble = ensembles.AdaBoostClassifier(
        tree, n_estimators=options.trees, learning_rate=options.learning_rate, random_state=options.seed
    )
    try:
        ensemble.fit(features, classes)
    except ValueError as error:  # "worse than random"
        raise UserError(f"boosting: {error}; deepen the trees or use more images") from None
    return TreeEnsemble.of_adaboost(
        ensemble,
        len(class_names) + 1,
        network_share=options.network_share,
        record=None if record is None else dict(record),
        name="ensemble",
    )
