//! Batches of tokens and rows of words.

use nissl_core::{Batch, TextRows};
use proptest::prelude::*;

#[test]
fn words_are_kept_once_a_type_and_sentences_know_their_rows() {
    let text = TextRows::from_words([(0, "the"), (0, "dog"), (3, "the"), (3, "the"), (4, "end")]);
    assert_eq!((text.types(), text.type_of()), (&["the", "dog", "end"].map(str::to_owned)[..], &[0, 1, 0, 0, 2][..]));
    assert_eq!((text.word(3), text.sentence_of()), ("the", &[0, 0, 3, 3, 4][..]));
    assert_eq!([0, 1, 2, 4].map(|row| text.sentence_rows(row)), [0..2, 0..2, 2..4, 4..5]);
    assert_eq!(TextRows::from_words::<&str>([]), TextRows::default());
}

#[test]
fn an_empty_batch_has_no_sentences() {
    assert_eq!((Batch::new().n_sentences(), Batch::new().n_tokens(), Batch::new().offsets()), (0, 0, &[0][..]));
    assert_eq!(Batch::new(), Batch::default());
}

#[test]
fn a_saved_batch_whose_offsets_do_not_fit_is_refused() {
    let read = |text: &str| serde_json::from_str::<Batch>(text).map_err(|err| err.to_string());
    assert_eq!(read(r#"{"tokens":[5,6],"offsets":[0,2]}"#).unwrap(), Batch::from_sentences([[5, 6]]));
    for offsets in ["[]", "[0]", "[1,2]", "[0,3]", "[0,2,1,2]", "[0,5,2]"] {
        let err = read(&format!(r#"{{"tokens":[5,6],"offsets":{offsets}}}"#)).unwrap_err();
        assert_eq!(err, "offsets of a batch: expected to ascend from 0 to 2", "{offsets}");
    }
}

proptest! {
    #[test]
    fn a_batch_gives_back_its_sentences(sentences in proptest::collection::vec(proptest::collection::vec(0..99_u32, 0..6), 0..8)) {
        let batch = Batch::from_sentences(&sentences);
        prop_assert_eq!(batch.n_sentences(), sentences.len());
        prop_assert_eq!(batch.tokens(), &sentences.concat()[..]);
        prop_assert_eq!(batch.n_tokens(), sentences.concat().len());
        for (idx, sentence) in sentences.iter().enumerate() {
            prop_assert_eq!(batch.sentence(idx), &sentence[..]);
            prop_assert_eq!(batch.rows(idx).len(), sentence.len());
        }
        let text = serde_json::to_string(&batch).unwrap();
        prop_assert_eq!(serde_json::from_str::<Batch>(&text).unwrap(), batch);
    }

    #[test]
    fn text_gives_back_its_words_and_sentences(rows in proptest::collection::vec((0..2_u32, "[a-c]{0,2}"), 0..30)) {
        let mut sentence = 0;
        let rows: Vec<(u32, String)> = rows.into_iter().map(|(step, word)| { sentence += step; (sentence, word) }).collect();
        let text = TextRows::from_words(rows.iter().map(|(sentence, word)| (*sentence, word)));
        prop_assert_eq!(text.n_tokens(), rows.len());
        for (row, (sentence, word)) in rows.iter().enumerate() {
            prop_assert_eq!((text.word(row), text.sentence_of()[row]), (word.as_str(), *sentence));
            let own: Vec<usize> = (0..rows.len()).filter(|&other| rows[other].0 == *sentence).collect();
            prop_assert_eq!(text.sentence_rows(row).collect::<Vec<_>>(), own);
        }
        let mut types = text.types().to_vec();
        types.sort();
        types.dedup();
        prop_assert_eq!(types.len(), text.types().len());
    }
}
