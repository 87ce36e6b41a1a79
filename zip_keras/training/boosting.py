"""Fits AdaBoost to features of RoIs: scikit-learn learns, the detector answers without it. Paper section 4."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zip_keras.errors import UserError
from zip_keras.models.boosting import TreeEnsemble
from zip_keras.utils.optional import optional_import


@dataclass(frozen=True)
class BoostOptions:
    """How the ensemble is fitted; the paper says AdaBoost and no more.

    Attributes:
        trees: of the ensemble, at most: AdaBoost ends early where a tree makes no error.
        depth: of a tree.
        learning_rate: factor of the trees' weights.
        max_features: features among which a split chooses: "sqrt" or "log2" of their number, or "all", which takes
            much longer.
        network_share: of the class score; see `TreeEnsemble.class_scores`.
        seed: of scikit-learn.
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
    """AdaBoost (discrete SAMME) of decision trees, as a layer.

    Args:
        features: float32 `[n, F]`, also mapped from a file.
        classes: `[n]`, 0 background, 1 to C.
        class_names: C of them.
        options: of the fit.
        record: kept with the ensemble.

    Raises:
        UserError: scikit-learn is missing, the RoIs have one class, or no tree is better than chance.
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
