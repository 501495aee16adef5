"""Which way a metric is better: never guessed."""

from __future__ import annotations

import pytest

from cyclr import HeldOut, Metric
from cyclr._metrics import as_metric, as_metrics, direction, functions_of

# As torchmetrics 1.9 has them in `higher_is_better`.
TORCHMETRICS = {
    "accuracy": True, "auroc": True, "average_precision": True, "calibration_error": False, "cohen_kappa": True,
    "dice": True, "exact_match": True, "f1_score": True, "fbeta_score": True, "hamming_distance": False,
    "jaccard_index": True, "matthews_corrcoef": True, "precision": True, "recall": True, "specificity": True,
    "mean_absolute_error": False, "mean_absolute_percentage_error": False, "mean_squared_error": False,
    "mean_squared_log_error": False, "r2_score": True, "explained_variance": True, "kl_divergence": False,
    "pearson_corrcoef": True, "spearman_corrcoef": True, "perplexity": False, "word_error_rate": False,
    "char_error_rate": False, "bleu": True, "edit_distance": False, "psnr": True, "ssim": True, "fid": False,
    "kid": False, "lpips": False, "inception_score": True, "snr": True, "si_sdr": True, "pesq": True, "stoi": True,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHMETRICS)
@pytest.mark.parametrize("written", ["{}", "val_{}", "test_{}", "averaged_val_{}"])
def test_published_directions_are_known_under_every_prefix_and_case(name, written):
    expected = "max" if TORCHMETRICS[name] else "min"
    assert direction(written.format(name)) == expected
    assert direction(written.format(name).upper()) == expected
    assert direction(written.format(name).replace("_", "-")) == expected


@pytest.mark.parametrize("name", ["mae", "RMSE", "MAPE", "wer", "nll", "ece", "top1_error", "mean_error", "aux_loss"])
def test_errors_and_losses_are_better_lower(name):
    assert direction(name) == "min"


@pytest.mark.parametrize(
    "name",
    ["score", "margin", "latency", "fairness", "x", "", "neg_mean_squared_error", "negative_loss", "minus_error",
     "accuracy_drop", "loss_ratio", "lossless", "macc", "terror", "1-accuracy", "1 - acc", "one_minus_auc", "no_error",
     "in_accuracy", "time_to_accuracy", "steps_to_loss", "complement_accuracy", "opposite_loss", "delta_loss"],
)  # fmt: skip
def test_what_is_not_certain_is_not_guessed(name):
    assert direction(name) is None


def test_a_metric_says_its_direction_in_any_of_three_ways():
    class Torchmetric:
        higher_is_better = False

        def __call__(self, outputs, targets):
            return 0.0

    own = Torchmetric()
    assert as_metric("score", (len, "max")) == Metric(len, "max")
    assert as_metric("score", Metric(len, "min")).better == "min"
    assert as_metric("accuracy", own).better == "min"  # its own word goes before its name
    assert as_metric("accuracy", len) == Metric(len, "max")
    Torchmetric.higher_is_better = None
    assert as_metric("accuracy", own).better == "max"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"score": len}, ValueError, r"metrics\['score'\] must say which way is better.*\(function, 'min'\)"),
        ({"score": (len, "less")}, ValueError, "better must be one of 'min', 'max'"),
        ({"score": (len, True)}, TypeError, "better must be one of"),
        ({"score": (3, "min")}, TypeError, "a metric must be a function"),
        ({"accuracy": 3}, TypeError, r"metrics\['accuracy'\] must be a function"),
        ({3: len}, TypeError, "a name in metrics must be a non-empty string"),
        ({"": len}, TypeError, "a name in metrics must be a non-empty string"),
        ([len], TypeError, "metrics must be a mapping"),
    ],
)
def test_what_does_not_say_it_is_an_error_that_asks(given, error, words):
    with pytest.raises(error, match=words):
        as_metrics(given)
    with pytest.raises(error, match=words):
        HeldOut([1], given)


def test_functions_come_back_as_they_were_given():
    assert functions_of({"a": len, "b": (sum, "min"), "c": Metric(max, "max")}) == {"a": len, "b": sum, "c": max}
    held_out = HeldOut([1], {"accuracy": len, "gap": (sum, "min")})
    assert (held_out.functions, held_out.maximize) == ({"accuracy": len, "gap": sum}, {"accuracy"})
