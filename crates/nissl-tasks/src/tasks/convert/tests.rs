//! There and back again.

use nissl_core::{Activations as _, NoProgress};
use nissl_testing::PlantedActivations;

use super::*;
use crate::testing::{bits, planted_store};

#[test]
fn a_store_comes_back_from_neurox_files_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let planted = PlantedActivations::new(7, 0.1);
    let store = planted_store(folder.path(), &planted);
    let file = folder.path().join("planted.hdf5");
    let site = planted.x.neurons()[0].point.to_string();
    let there = Config {
        from: store.clone(),
        to: file.clone(),
        sites: vec![site],
        labels: Some("tag".to_owned()),
        ..Config::default()
    };
    let report = run(&there, &NoProgress).unwrap();
    assert!(report.written.iter().any(|written| written.name == file));

    let back = Config {
        from: file,
        to: folder.path().join("back"),
        text: Some(folder.path().join("planted.word")),
        ..Config::default()
    };
    let report = run(&back, &NoProgress).unwrap();
    let (old, new) = (Store::open(store).unwrap(), Store::open(&back.to).unwrap());
    assert_eq!(bits(&new), bits(&old));
    assert_eq!(new.labels("label").unwrap(), old.labels("tag").unwrap());
    assert_eq!(report.store.rows, old.n_rows() as u64);
}

#[test]
fn a_damaged_file_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("a.json");
    let good = r#"{"linex_index": 0, "features": [{"token": "a", "layers": [{"index": 0, "values": [1.0]}]}]}"#;
    fs::write(&from, format!("{good}\n{{ broken\n")).unwrap();
    let config = Config { from, to: folder.path().join("store"), ..Config::default() };
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("a.json"), "{err}");
    assert!(!config.to.exists());
}
