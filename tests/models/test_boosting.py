"""The ensemble as tensors against scikit-learn."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier

from zip_keras.models.boosting import TreeEnsemble


def fitted(classes, depth=3, trees=25, rows=400, features=12):
    rng = np.random.default_rng(len(classes))
    labels = rng.choice(classes, rows)
    x = (rng.normal(size=(rows, features)) + 0.4 * labels[:, None] * rng.normal(size=features)).astype(np.float32)
    x[:, 0] = np.round(x[:, 0])  # many equal values: thresholds between them
    tree = DecisionTreeClassifier(max_depth=depth, max_features="sqrt")
    return AdaBoostClassifier(tree, n_estimators=trees, random_state=0).fit(x, labels), x


@pytest.mark.parametrize(("classes", "depth"), [((0, 1, 2, 3), 3), ((0, 1), 1), ((0, 1, 2), 6)])
def test_equal_to_scikit_learn(classes, depth):
    oracle, x = fitted(classes, depth)
    ensemble = TreeEnsemble.of_adaboost(oracle, len(classes))
    shares = ensemble(x.reshape(20, 20, -1))
    assert shares.shape == (20, 20, len(classes))
    shares = ops.reshape(shares, (400, len(classes)))
    np.testing.assert_allclose(ops.sum(shares, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(ensemble.decision_function(shares), oracle.decision_function(x), atol=1e-6)
    np.testing.assert_allclose(ensemble.probabilities(shares), oracle.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(np.argmax(shares, axis=-1), oracle.predict(x))


def test_values_at_the_thresholds():
    """scikit-learn compares float32 features with float64 thresholds."""
    oracle = fitted((0, 1, 2, 3))[0]
    ensemble = TreeEnsemble.of_adaboost(oracle, 4)
    thresholds = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in oracle.estimators_])
    nearest = thresholds.astype(np.float32)
    for values in (nearest, np.nextafter(nearest, np.float32(9e9)), np.nextafter(nearest, np.float32(-9e9))):
        at = np.repeat(values[:, None], 12, axis=1)
        np.testing.assert_allclose(ensemble.decision_function(ensemble(at)), oracle.decision_function(at), atol=1e-6)


def test_a_class_without_examples_gets_no_vote():
    oracle, x = fitted((0, 2, 3))
    shares = np.asarray(TreeEnsemble.of_adaboost(oracle, 5)(x))
    assert not shares[:, [1, 4]].any()
    expected = oracle.decision_function(x)
    np.testing.assert_allclose(TreeEnsemble.of_adaboost(oracle, 5).decision_function(shares)[:, [0, 2, 3]], expected,
                               atol=1e-6)  # fmt: skip


def test_votes_rank_and_the_network_decides_among_equal_ones():
    oracle, x = fitted((0, 1, 2))
    ensemble = TreeEnsemble.of_adaboost(oracle, 3, network_share=1e-3)
    shares, network = np.asarray(ensemble(x)), np.random.default_rng(0).dirichlet([1, 1, 1], 400).astype(np.float32)
    scores = np.asarray(ensemble.class_scores(x, network))
    np.testing.assert_allclose(scores, 0.999 * shares + 0.001 * network, atol=1e-6)
    assert scores.min() >= 0
    np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-5)
    same = np.repeat(x[:1], 400, axis=0)
    assert (np.argsort(np.asarray(ensemble.class_scores(same, network))[:, 1]) == np.argsort(network[:, 1])).all()


def test_saved_and_loaded(tmp_path):
    oracle, x = fitted((0, 1, 2))
    ensemble = TreeEnsemble.of_adaboost(oracle, 3, record={"images": 7})
    inputs = keras.Input((12,))
    keras.Model(inputs, ensemble(inputs)).save(tmp_path / "trees.keras")
    loaded = keras.models.load_model(tmp_path / "trees.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), ensemble(x))
    assert loaded.layers[-1].record == {"images": 7}
    assert not ensemble.trainable_variables
