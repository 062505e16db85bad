//! Labels in their three forms: none, one, several a row.

use nissl_core::{Concept, Labels};
use proptest::prelude::*;

fn concepts(names: &[&str]) -> Vec<Concept> {
    names.iter().map(|&name| Concept::new(name)).collect()
}

#[test]
fn one_label_or_none_a_row() {
    let labels = Labels::single(concepts(&["noun", "verb"]), [Some(1), None, Some(0), Some(1)]);
    assert_eq!((labels.n_tokens(), labels.counts()), (4, vec![1, 2]));
    assert_eq!((0..4).map(|row| labels.of(row)).collect::<Vec<_>>(), [&[1][..], &[], &[0], &[1]]);
    assert_eq!(labels.mask(1), [true, false, false, true]);
    assert_eq!(labels.exclusive("tried").unwrap(), [Some(1), None, Some(0), Some(1)]);
}

#[test]
fn several_labels_are_sorted_and_kept_once_and_refused_where_one_is_needed() {
    let labels = Labels::several(concepts(&["a", "b", "c"]), [vec![2, 0, 2], vec![], vec![1]]);
    assert_eq!((labels.of(0), labels.of(1), labels.of(2)), (&[0, 2][..], &[][..], &[1][..]));
    assert_eq!(labels.exclusive("tried").unwrap_err().to_string(), "tried needs one label a row; row 0 has 2");
}

#[test]
fn names_are_numbered_in_their_own_order() {
    let labels = Labels::from_names(&[Some("VERB"), None, Some("ADJ"), Some("VERB")]);
    assert_eq!((labels.concepts(), labels.counts()), (&concepts(&["ADJ", "VERB"])[..], vec![1, 2]));
    let nobody = Labels::from_names::<&str>(&[None, None]);
    assert_eq!((nobody.n_tokens(), nobody.concepts().len()), (2, 0));
    assert_eq!(Labels::from_names::<&str>(&[]).n_tokens(), 0);
}

#[test]
fn chosen_rows_keep_their_labels_and_all_concepts() {
    let labels = Labels::from_names(&[Some("a"), Some("b"), None]);
    let chosen = labels.select(&[2, 0, 0]);
    assert_eq!((chosen.n_tokens(), chosen.counts()), (3, vec![2, 0]));
    assert_eq!(chosen.concepts(), labels.concepts());
}

#[test]
fn saved_labels_that_do_not_fit_together_are_refused() {
    let read = |offsets: &str, ids: &str| {
        let text = format!(r#"{{"concepts":[{{"name":"a"}},{{"name":"b"}}],"offsets":{offsets},"ids":{ids}}}"#);
        serde_json::from_str::<Labels>(&text).map_err(|err| err.to_string())
    };
    assert_eq!(read("[0,1,1]", "[1]").unwrap(), Labels::single(concepts(&["a", "b"]), [Some(1), None]));
    for (offsets, ids, want) in [
        ("[]", "[]", "offsets of labels: expected to ascend from 0 to 0"),
        ("[0,3]", "[0,1]", "offsets of labels: expected to ascend from 0 to 2"),
        ("[1,2]", "[0,1]", "offsets of labels: expected to ascend from 0 to 2"),
        ("[0,2,1,2]", "[0,1]", "offsets of labels: expected to ascend from 0 to 2"),
        ("[0,1]", "[2]", "label 2: expected an index below 2"),
        ("[0,2]", "[1,0]", "labels of row 0: expected ascending indices, got [1, 0]"),
        ("[0,0,2]", "[1,1]", "labels of row 1: expected ascending indices, got [1, 1]"),
    ] {
        assert_eq!(read(offsets, ids).unwrap_err(), want, "{offsets} {ids}");
    }
}

proptest! {
    #[test]
    fn rows_counts_and_masks_agree(rows in proptest::collection::vec(proptest::collection::btree_set(0..4_u32, 0..4), 0..30)) {
        let rows: Vec<Vec<u32>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
        let labels = Labels::several(concepts(&["a", "b", "c", "d"]), &rows);
        prop_assert_eq!(labels.n_tokens(), rows.len());
        for (row, want) in rows.iter().enumerate() {
            prop_assert_eq!(labels.of(row), &want[..]);
        }
        for (concept, &count) in labels.counts().iter().enumerate() {
            let mask = labels.mask(concept);
            prop_assert_eq!(mask.iter().filter(|&&has| has).count(), count);
            prop_assert!(mask.iter().zip(&rows).all(|(&has, row)| has == row.contains(&(concept as u32))));
        }
        let several = rows.iter().position(|row| row.len() > 1);
        match labels.exclusive("tried") {
            Ok(single) => {
                prop_assert_eq!(several, None);
                prop_assert_eq!(Labels::single(labels.concepts().to_vec(), single), labels.clone());
            }
            Err(err) => {
                let place = format!("row {} has", several.unwrap());
                prop_assert!(err.to_string().contains(&place), "{}", err);
            }
        }
        let text = serde_json::to_string(&labels).unwrap();
        prop_assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), labels);
    }
}
