"""An AdaBoost ensemble of decision trees as tensors inside the graph. Paper section 4 ("feature boosting")."""

from typing import Any

import keras
import numpy as np
from keras import ops

from zip_keras.layers.registry import serializable


@serializable
class TreeEnsemble(keras.layers.Layer):
    """Weighted decision trees: features to the share of votes of each class.

    Input float `[..., F]`, output float32 `[..., K]` with K = `num_classes`, non-negative with sum 1. All trees are
    complete binary trees of the same depth. Their nodes, thresholds and leaves are weights of this layer, so they are
    saved and exported with the model, and scikit-learn is not needed. `of_adaboost` converts a fitted
    `sklearn.ensemble.AdaBoostClassifier`. `decision_function` and `probabilities` reproduce its methods to float32
    accuracy.

    Args:
        num_features: F.
        num_trees, depth: T trees of 2 ** depth leaves.
        num_classes: K, background included.
        num_voted: number of classes that the ensemble was fitted on; the others get no votes. None: all.
        network_share: see `class_scores`.
        record: how the ensemble was fitted, as JSON values; saved with the model.
    """

    def __init__(
        self,
        num_features: int,
        num_trees: int,
        depth: int,
        num_classes: int,
        num_voted: int | None = None,
        network_share: float = 1e-3,
        record: dict[str, Any] | None = None,
        **kwargs,
    ):
        super().__init__(**{"trainable": False, "autocast": False, "dtype": "float32", **kwargs})
        self.num_features, self.num_trees, self.depth, self.num_classes = num_features, num_trees, depth, num_classes
        self.num_voted = num_classes if num_voted is None else num_voted
        self.network_share, self.record = network_share, record
        splits, leaves = (num_trees, 2**depth - 1), (num_trees, 2**depth)
        # Heap order: the children of node i are 2 i + 1 (value <= threshold) and 2 i + 2.
        self.feature = self._table("feature", splits, "int32")
        self.threshold = self._table("threshold", splits, "float32")
        self.leaf = self._table("leaf", leaves, "int32")  # a class
        self.weight = self._table("weight", (num_trees,), "float32")  # sum 1
        self.built = True

    def _table(self, name: str, shape: tuple[int, ...], dtype: str):
        return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

    @classmethod
    def of_adaboost(cls, fitted, num_classes: int, **options) -> "TreeEnsemble":
        """Convert an `AdaBoostClassifier` of `DecisionTreeClassifier`s.

        Args:
            fitted: the classifier; its classes are integers from 0 to `num_classes` - 1, and some may be missing.
            num_classes: K.
            options: `network_share`, `record` and options of a Keras layer.
        """
        trees = fitted.estimators_
        depth = max(1, *(tree.get_depth() for tree in trees))
        rows = [_complete_tree(tree.tree_, depth) for tree in trees]
        voted = np.asarray(fitted.classes_)
        leaves = [voted[np.argmax(tree.tree_.value[row[2], 0], axis=-1)] for tree, row in zip(trees, rows, strict=True)]
        weights = np.asarray(fitted.estimator_weights_[: len(trees)], np.float64)
        result = cls(fitted.n_features_in_, len(trees), depth, num_classes, len(voted), **options)
        result.feature.assign(np.stack([row[0] for row in rows]).astype(np.int32))
        result.threshold.assign(_rounded_down(np.stack([row[1] for row in rows])))
        result.leaf.assign(np.stack(leaves).astype(np.int32))
        result.weight.assign((weights / weights.sum()).astype(np.float32))
        return result

    def call(self, features):
        shape = ops.shape(features)
        rows = ops.reshape(ops.cast(features, "float32"), (-1, self.num_features))
        feature, threshold, leaf = (ops.reshape(table, (-1,)) for table in (self.feature, self.threshold, self.leaf))
        tree = ops.arange(self.num_trees, dtype="int32")[None]
        splits = 2**self.depth - 1
        node = ops.zeros_like(rows[:, :1], dtype="int32") + ops.zeros_like(tree)  # [N, T]
        for _ in range(self.depth):
            place = tree * splits + node
            value = ops.take_along_axis(rows, ops.take(feature, place, axis=0), axis=1)
            node = 2 * node + 1 + ops.cast(value > ops.take(threshold, place, axis=0), "int32")
        votes = ops.take(leaf, tree * 2**self.depth + node - splits, axis=0)
        shares = ops.einsum("ntk,t->nk", ops.one_hot(votes, self.num_classes, dtype="float32"), self.weight)
        return ops.reshape(shares, (*shape[:-1], self.num_classes))

    def decision_function(self, shares):
        """scikit-learn's `decision_function`: vote shares `[..., K]` -> `[..., K]`, or `[...]` for two classes."""
        if self.num_voted == 2:
            return 2.0 * (shares[..., 1] - shares[..., 0])
        return (self.num_voted * shares - 1.0) / (self.num_voted - 1.0)

    def probabilities(self, shares):
        """scikit-learn's `predict_proba` for vote shares `[..., K]`, if the ensemble was fitted on all K classes."""
        decision = self.decision_function(shares)
        if self.num_voted == 2:
            return ops.softmax(ops.stack([-decision, decision], axis=-1) / 2.0, axis=-1)
        return ops.softmax(decision / (self.num_voted - 1.0), axis=-1)

    def class_scores(self, features, network_scores):
        """Compute the class scores that replace the network's.

        The score is `(1 - s)` x vote share + `s` x network score, s = `network_share`. Many boxes get the same votes,
        and the network score orders them. The ensemble's probabilities would order the boxes of a class in the same
        way, but they are nearly equal if there are many classes.

        Args:
            features: float32 `[..., F]`.
            network_scores: float32 `[..., K]`, the network's softmax.

        Returns:
            float32 `[..., K]`.
        """
        return (1.0 - self.network_share) * self(features) + self.network_share * network_scores

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        names = ("num_features", "num_trees", "depth", "num_classes", "num_voted", "network_share", "record")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _complete_tree(tree, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and thresholds of the splits in heap order, and the node of scikit-learn's tree at each leaf.

    A leaf above the full depth is repeated: both children of every split below it lead to that leaf.
    """
    nodes, features, thresholds = np.zeros(1, np.int64), [], []
    for _ in range(depth):
        is_leaf = tree.children_left[nodes] < 0
        features.append(np.where(is_leaf, 0, tree.feature[nodes]))
        thresholds.append(np.where(is_leaf, 0.0, tree.threshold[nodes]))
        sides = [np.where(is_leaf, nodes, side[nodes]) for side in (tree.children_left, tree.children_right)]
        nodes = np.stack(sides, axis=1).reshape(-1)
    return np.concatenate(features), np.concatenate(thresholds), nodes


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Round float64 down to float32, so `x <= threshold` has the same result for every float32 `x`."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
