//! Every line of the catalogue, and the options that change what a method does, pass the checks of their kind.

use nissl_methods::profilers::{Compositional, Dedup, Lookup, Scope, TopContexts, TopWords, TxRay, VarianceReduction};
use nissl_methods::rankers::{AveragePrecision, Iou, MeanSelect, Probeless, Threshold, Unlabeled};
use nissl_methods::{METHODS, Method};
use nissl_testing::conformance::{check_attributor, check_profiler, check_ranker};
use serde_json::Value;

#[test]
fn every_method_of_the_catalogue_conforms_with_its_defaults() {
    for entry in METHODS {
        match entry.build(&Value::Null).expect("defaults make a method") {
            Method::Ranker(ranker) => check_ranker(entry.name, ranker.as_ref()),
            Method::Profiler(profiler) => check_profiler(entry.name, profiler.as_ref()),
            Method::Attributor(attributor) => check_attributor(entry.name, attributor.as_ref()),
        }
    }
}

#[test]
fn rankers_conform_with_their_options() {
    check_ranker("probeless, raw", &Probeless { zscore: false, min_count: 1 });
    let signed = AveragePrecision { signed: true, ..AveragePrecision::default() };
    check_ranker("average-precision, signed", &signed);
    let skip = AveragePrecision { unlabeled: Unlabeled::Skip, min_count: 2, ..AveragePrecision::default() };
    check_ranker("average-precision, without unlabeled rows", &skip);
    let zeroed = AveragePrecision { zero_below: 0.05, ..AveragePrecision::default() };
    check_ranker("average-precision, small values zero", &zeroed);
    let quantile = MeanSelect { quantile: 0.01, unlabeled: Unlabeled::Skip, ..MeanSelect::default() };
    check_ranker("mean-select, range of quantiles", &quantile);
    let value = Iou { threshold: Threshold::Value, value: 0.4, ..Iou::default() };
    check_ranker("iou, above a value", &value);
}

#[test]
fn profilers_conform_with_their_options() {
    check_profiler("top-words, signed", &TopWords { signed: true, num: 5, min_count: 2, ..TopWords::default() });
    let both = TopContexts { k: 7, window: 2, dedup: Dedup::None, bottom: true, random_bins: 4 };
    check_profiler("top-contexts, both ends, all contexts", &both);
    let before = VarianceReduction { scope: Scope::Previous, num: 1, ..VarianceReduction::default() };
    check_profiler("variance-reduction, of the row before", &before);
    let long = Compositional { previous: true, rounds: 3, penalty: 0.9, alpha: 0.05, ..Compositional::default() };
    check_profiler("compositional, of the row before", &long);
    check_profiler("tx-ray, standardized", &TxRay { zscore: true, num: 0, min_wins: 2 });
    check_profiler("lookup, pairs of words", &Lookup { previous: true, min_count: 3, num: 4 });
}
