//! A table of words: of a file, or learned from other text.

use std::path::Path;

use nissl_core::NeuronId;
use nissl_methods::evaluation::firing::WordTable;

use super::{Claim, Foretold, Told};
use crate::error::TaskError;
use crate::tasks::inspect::columns;
use crate::tasks::rank::open_store;

/// Rows that a word of a learned table has, at least.
const MIN_COUNT: usize = 2;

pub(super) fn foretell(claim: &Claim, told: &Told<'_>) -> Option<Result<Foretold, TaskError>> {
    claim.table.as_ref().map(|path| {
        let text = told.text.clone();
        if path.is_dir() {
            let store = open_store(path)?;
            if store.manifest().fingerprint() == told.store.manifest().fingerprint() {
                let got = format!("{}, the one that it is tested on", path.display());
                return Err(TaskError::config("table", "a store of other text", got));
            }
            let own = store.text()?;
            return Ok(Foretold::Values(Box::new(move |neuron| {
                let values = columns(&store, &[neuron])?.values().column(0).to_vec();
                Ok(WordTable::learn(&own, &values, MIN_COUNT).foretell(&text))
            })));
        }
        let values = read(path)?.foretell(&text);
        Ok(Foretold::Values(Box::new(move |_: NeuronId| Ok(values.clone()))))
    })
}

/// The table of a file: `{"Paris": 2.5, "London": 1.75}`; 0 stands for other words.
fn read(path: &Path) -> Result<WordTable, TaskError> {
    let text = std::fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
    let words = serde_json::from_str(&text).map_err(|err| TaskError::Format {
        path: path.to_owned(),
        expected: "a JSON object of words and numbers, or a store".to_owned(),
        got: err.to_string(),
    })?;
    Ok(WordTable { words, others: 0.0 })
}
