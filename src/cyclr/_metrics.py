"""Whether lower or higher values of a metric are better: from the user, the metric itself or an unambiguous name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, get_args

from cyclr._check import choice, problem

P = ParamSpec("P")
R = TypeVar("R")
Better = Literal["min", "max"]

# Names whose direction is unambiguous: those of torchmetrics (by its `higher_is_better`) and common abbreviations.
_HIGHER = """
    accuracy acc balanced_accuracy top1 top5 top_1 top_5 precision recall sensitivity specificity f1 f1_score
    f_score fbeta fbeta_score auc auroc roc_auc auprc pr_auc average_precision map mean_average_precision iou
    miou mean_iou jaccard jaccard_index dice dice_score exact_match hit_rate ndcg mrr mean_reciprocal_rank kappa
    cohen_kappa mcc matthews_corrcoef r2 r2_score explained_variance pearson pearson_corrcoef spearman
    spearman_corrcoef kendall cosine_similarity bleu sacrebleu rouge rouge1 rouge2 rougel rougelsum chrf psnr
    ssim ms_ssim snr sdr si_sdr si_snr stoi pesq inception_score reward episode_reward win_rate log_likelihood
"""
_LOWER = """
    loss error err error_rate cross_entropy bce nll negative_log_likelihood log_loss perplexity ppl
    bits_per_byte bpb bits_per_character bits_per_char bpc bits_per_dim bpd mae mse rmse msle rmsle mape smape
    wmape mean_absolute_error mean_squared_error root_mean_squared_error mean_squared_log_error
    median_absolute_error mean_absolute_percentage_error wer word_error_rate cer char_error_rate ter
    translation_edit_rate mer edit_distance fid kid lpips frechet_inception_distance ece calibration_error brier
    brier_score hamming_distance kl_divergence js_divergence wasserstein_distance eer false_positive_rate
    false_negative_rate fpr fnr
"""
_BETTER: tuple[tuple[Better, str], ...] = (("max", _HIGHER), ("min", _LOWER))
KNOWN: dict[str, Better] = {name: better for better, names in _BETTER for name in names.split()}
#: Those that are a fraction, or in percent; a word error rate, for one, may exceed both.
_BOUNDED = """
    accuracy acc balanced_accuracy top1 top5 top_1 top_5 precision recall sensitivity specificity f1 f1_score
    f_score fbeta fbeta_score auc auroc roc_auc auprc pr_auc average_precision map mean_average_precision iou
    miou mean_iou jaccard jaccard_index dice dice_score exact_match hit_rate ndcg mrr win_rate eer error_rate
    top1_error top5_error top_1_error top_5_error classification_error misclassification_rate
    false_positive_rate false_negative_rate fpr fnr hamming_distance ece calibration_error
"""
_PERCENT = {"percent", "pct", "perc"}
_BOUNDED_NAMES = frozenset(_BOUNDED.split())
_WHERE = re.compile(r"^(train|training|val|valid|validation|eval|test|averaged)_")
#: Words before a name after which it may be better the other way, such as neg_mean_squared_error, time_to_accuracy.
_TURNED = """
    neg negative minus inverse inv non not no anti in without complement opposite reverse reversed flipped to until
    delta diff difference change
"""
_TURNING = frozenset(_TURNED.split())


@dataclass(frozen=True, slots=True)
class Metric(Generic[P, R]):
    """A metric and its direction: whether lower or higher values are better. Calling it calls its function.

    Wherever metrics are taken, `(function, "min")` and `(function, "max")` are short for it. A function alone is
    enough if the name is unambiguous, such as "accuracy" or "perplexity".

    Args:
        function: Computes the metric for a batch.
        better: "min" if lower values are better, "max" if higher ones are.

    Raises:
        TypeError: If `function` is not callable.
        ValueError: If `better` is neither "min" nor "max".

    >>> metric = Metric(lambda outputs, targets: abs(outputs - targets), "min")
    >>> metric(3, 1), metric.better
    (2, 'min')
    """

    function: Callable[P, R]
    better: Better

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(problem("a metric must be a function", self.function, "pass (function, 'min')"))
        choice("better", self.better, get_args(Better))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


#: The accepted forms of one metric.
GivenMetric: TypeAlias = "Metric[..., Any] | tuple[Callable[..., Any], Better] | Callable[..., Any]"


def direction(name: str) -> Better | None:
    """The direction of a metric by its name, "min" or "max"; None if the name is ambiguous.

    Prefixes such as `val_` and `test_` are ignored; for longer names, the last words decide.

    >>> direction("val_top1_accuracy"), direction("test_RMSE"), direction("mean_error"), direction("score")
    ('max', 'min', 'min', None)
    >>> direction("neg_mean_squared_error") is None  # scikit-learn turns it round, others may not
    True
    """
    words = _words(name)
    for start in range(len(words)):
        known = KNOWN.get("_".join(words[start:]))
        if known is not None:
            return None if _is_turned(words[:start]) else known
    return None


def natural_ends(name: str, values: Iterable[float]) -> tuple[float, float] | None:
    """The least and the greatest value that a metric can have, 0 and 1 or 0 and 100; None if that is not certain.

    Args:
        name: The metric's name: one of a published list, or one that says that it is in percent.
        values: All values that were seen.

    >>> natural_ends("val_accuracy", [0.8, 0.9]), natural_ends("top5_error", [7.5, 12.0]), natural_ends("wer", [0.3])
    ((0.0, 1.0), (0.0, 100.0), None)
    """
    words = [word for word in _words(name) if word not in _PERCENT]
    marked = "%" in name or len(words) < len(_words(name))
    known = [start for start in range(len(words)) if "_".join(words[start:]) in _BOUNDED_NAMES]
    seen = [value for value in values if math.isfinite(value)]
    unknown = marked and direction("_".join(words)) is None
    if not seen or min(seen) < 0 or max(seen) > 100 or not (known or unknown):
        return None
    if known and _is_turned(words[: known[0]]):
        return None
    return (0.0, 100.0) if marked or max(seen) > 1 else (0.0, 1.0)


def _is_turned(before: list[str]) -> bool:
    """Whether words before a metric's name may turn it round; `1 - accuracy` begins with a one."""
    return bool(_TURNING & set(before)) or before in (["1"], ["one"])


def _words(name: str) -> list[str]:
    """The words of a metric's name, without prefixes such as `val_`."""
    bare = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    while (shorter := _WHERE.sub("", bare)) != bare:
        bare = shorter
    return bare.split("_")


def as_metric(name: str, given: GivenMetric, where: str = "metrics") -> Metric[..., Any]:
    """One metric with its direction.

    Args:
        name: The metric's name.
        given: A `Metric`, a pair (function, "min" or "max"), or a function. A function's own `higher_is_better`, as
            torchmetrics has it, takes precedence over its name.
        where: The argument that it was passed in, for error messages.

    Raises:
        TypeError: If it is none of these.
        ValueError: If its direction is not known.
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, tuple) and len(given) == 2:
        return Metric(given[0], given[1])
    if not callable(given):
        advice = "pass a function of (outputs, targets), or a pair (function, 'min')"
        raise TypeError(problem(f"{where}[{name!r}] must be a function", given, advice))
    own = getattr(given, "higher_is_better", None)
    better = ("max" if own else "min") if isinstance(own, bool) else direction(name)
    if better is None:
        raise ValueError(
            f"{where}[{name!r}] must say which way is better, which its name does not; "
            f"write {{{name!r}: (function, 'min')}} if lower is better, or 'max' if higher is"
        )
    return Metric(given, better)


def as_metrics(given: Mapping[str, GivenMetric], where: str = "metrics") -> dict[str, Metric[..., Any]]:
    """The metrics of a mapping, each with its direction.

    Raises:
        TypeError: If it is not a mapping of names to metrics.
        ValueError: If a direction is not known.
    """
    if not isinstance(given, Mapping):
        raise TypeError(problem(f"{where} must be a mapping of names to functions", given, "pass {'accuracy': fn}"))
    for name in given:
        if not isinstance(name, str) or not name:
            raise TypeError(problem(f"a name in {where} must be a non-empty string", name))
    return {name: as_metric(name, metric, where) for name, metric in given.items()}


def functions_of(given: Mapping[str, GivenMetric]) -> dict[str, Callable[..., Any]]:
    """The functions of metrics, for use where the direction does not matter."""

    def function(metric: GivenMetric) -> Callable[..., Any]:
        if isinstance(metric, Metric):
            return metric.function
        return metric[0] if isinstance(metric, tuple) else metric

    return {name: function(metric) for name, metric in given.items()}


def in_words(better: Better) -> str:
    """`higher is better` or `lower is better`."""
    return "higher is better" if better == "max" else "lower is better"
