use nissl_core::{Matrix, NoProgress};
use nissl_testing::{PlantedActivations, select_columns};

use super::*;
use crate::testing::planted_store;

fn planted(folder: &Path, name: &str, data: &PlantedActivations) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    planted_store(&path, data)
}

fn config(store: &Path, others: &[&Path]) -> Config {
    let others = others.iter().map(|path| path.to_path_buf()).collect();
    Config { store: store.to_owned(), others, ..Config::default() }
}

#[test]
fn a_model_is_found_again_in_itself_turned_around_and_its_constant_neurons_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = PlantedActivations::new(3, 0.1);
    let own = planted(folder.path(), "own", &data);
    let order: Vec<usize> = (0..128).rev().collect();
    let x = select_columns(&data.x, &order);
    let x = Matrix::new(x.values().clone(), data.x.neurons().to_vec()).unwrap();
    let turned = planted(folder.path(), "turned", &PlantedActivations { x, ..data.clone() });
    let out = folder.path().join("out");
    let config = Config { out: Some(out.clone()), ..config(&own, &[&turned, &own]) };
    let report = run(&config, &NoProgress).unwrap();

    assert_eq!(report.others[0].pairs.len(), 10);
    for pair in &report.others[0].pairs {
        assert!(pair.correlation.abs() > 0.9999, "{pair:?}");
        assert!(pair.name.idx + pair.partner.idx == 127 || pair.name.idx < 4, "the verb neurons are copies: {pair:?}");
    }
    let names: Vec<&str> = report.rankings.iter().map(|ranked| ranked.name.as_str()).collect();
    assert_eq!(names, ["max-corr", "min-corr", "excess"]);
    // All but the dead and the constant one are themselves in the other.
    assert!(report.others[1].max_corr > 125.9 / 128.0, "{}", report.others[1].max_corr);
    assert!(report.layers[0].universal.unwrap() > 100, "{:?}", report.layers);
    assert!(out.join(RANKING).is_file());
    let again: Report = serde_json::from_slice(&std::fs::read(out.join(REPORT)).unwrap()).unwrap();
    assert_eq!(run(&again.head.config, &NoProgress).unwrap(), report, "a report's config repeats it");
}

#[test]
fn stores_of_other_words_are_refused_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let own = planted(folder.path(), "own", &PlantedActivations::new(3, 0.1));
    let other = planted(folder.path(), "other", &PlantedActivations::new(4, 0.1));
    let err = run(&config(&own, &[&other]), &NoProgress).unwrap_err().to_string();
    assert!(err.contains("rows") || err.contains("in row"), "{err}");
    let err = run(&config(&own, &[]), &NoProgress).unwrap_err().to_string();
    assert!(err.contains("others: expected at least one store"), "{err}");
}

#[test]
fn layers_as_a_whole_are_alike_whatever_the_order_of_their_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let data = PlantedActivations::new(3, 0.1);
    let own = planted(folder.path(), "own", &data);
    let order: Vec<usize> = (0..128).rev().collect();
    let x = select_columns(&data.x, &order);
    let x = Matrix::new(x.values().clone(), data.x.neurons().to_vec()).unwrap();
    let turned = planted(folder.path(), "turned", &PlantedActivations { x, ..data });
    let whole = Config { whole: true, ..config(&own, &[&turned]) };
    let report = run(&whole, &NoProgress).unwrap();
    let same = report.others[0].wholes[0];
    assert_eq!(report.others[0].wholes.len(), 1);
    // All but the dead and the constant neuron are sums of the other's.
    assert!((same.linreg - 126.0 / 128.0).abs() < 1e-3 && same.svcca > 0.999 && same.pwcca > 0.999, "{same:?}");
    assert!(same.rbf_cka.unwrap() > 0.999, "{same:?}");
    let plain = run(&Config { whole: false, ..whole.clone() }, &NoProgress).unwrap();
    assert!(plain.others[0].wholes.is_empty());
    let err = run(&Config { memory: 1 << 19, ..whole }, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("memory"), "{err}");
}

#[test]
fn words_of_neurons_that_changed_places_move_and_those_of_the_same_store_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = PlantedActivations::new(3, 0.1);
    let own = planted(folder.path(), "own", &data);
    // Two neurons of noise change places.
    let mut order: Vec<usize> = (0..128).collect();
    order.swap(64, 65);
    let x = select_columns(&data.x, &order);
    let x = Matrix::new(x.values().clone(), data.x.neurons().to_vec()).unwrap();
    let other = planted(folder.path(), "other", &PlantedActivations { x, ..data.clone() });
    let report = run(&Config { words: true, ..config(&own, &[&own, &other]) }, &NoProgress).unwrap();
    let same = report.others[0].words.as_ref().unwrap();
    assert!(same.distance < 1e-6 && same.shared > 50 && (same.only_own, same.only_other) == (0, 0), "{same:?}");
    let moved = report.others[1].words.as_ref().unwrap();
    let mut most: Vec<u32> = moved.moved.iter().take(2).map(|moved| moved.name.idx).collect();
    most.sort_unstable();
    assert_eq!(most, [64, 65]);
    assert!(moved.stayed[0].distance < 1e-6 && moved.distance > same.distance);
    let without = run(&config(&own, &[&other]), &NoProgress).unwrap();
    assert_eq!(without.others[0].words, None);
}
