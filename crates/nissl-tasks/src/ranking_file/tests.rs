//! Scores go through a file and come back the same.

use ndarray::array;

use super::*;

fn scores() -> Scores {
    let neurons: Vec<NeuronId> =
        ["hook_embed[1]", "blocks.0.mlp.hook_post[3]", "blocks.2.hook_resid_post[0]", "ln_final.hook_normalized[7]"]
            .map(|name| name.parse().unwrap())
            .into();
    let concepts = vec![Concept::new("NOUN"), Concept::new("Größe=\"1\"")];
    let values = array![[0.5, f32::MIN_POSITIVE, 0.5, 1.0 / 3.0], [-1.0e30, 0.0, 7.25, -0.0]];
    let provenance = Provenance {
        model: "m".to_owned(),
        data: "d".to_owned(),
        ..Provenance::of_method("probeless", serde_json::json!({ "min_rows": 3 }))
    };
    let scores = Scores::new(values, concepts, neurons, provenance).unwrap();
    scores.with_constant(vec![true, false, false, false]).unwrap()
}

#[test]
fn scores_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let signed = scores().with_sign(array![[1, -1, 0, 1], [0, 0, -1, -1]]).unwrap();
    for scores in [scores(), signed] {
        save_ranking(&path, &scores).unwrap();
        let back = load_ranking(&path).unwrap();
        assert_eq!(back, scores);
        let bits = |scores: &Scores| scores.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&scores), "minus zero too");
    }
}

#[test]
fn rows_are_in_the_order_of_the_ranking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let scores = scores();
    save_ranking(&path, &scores).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let neurons: Vec<String> = batches
        .iter()
        .flat_map(|batch| batch.column(2).as_string::<i32>().iter().map(|n| n.unwrap().to_owned()).collect::<Vec<_>>())
        .collect();
    let expected: Vec<String> =
        (0..2).flat_map(|concept| scores.ranking(concept).neurons).map(|neuron| neuron.to_string()).collect();
    assert_eq!(neurons, expected);
}

#[test]
fn a_file_that_is_no_ranking_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    assert!(matches!(load_ranking(&path), Err(TaskError::Io { action: "read", .. })));
    std::fs::write(&path, "not parquet at all").unwrap();
    assert!(matches!(load_ranking(&path), Err(TaskError::Format { .. })));

    save_ranking(&path, &scores()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() / 2, whole.len() - 9] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(load_ranking(&path), Err(TaskError::Format { .. })));
    }
}
