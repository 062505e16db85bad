//! What each row is, as explanations name it: its word, its labels, and those of the row before it.

use std::collections::HashMap;

use nissl_core::{Context, Labels, MethodError, TextActivations};

use crate::groups::RowGroups;

/// Which features there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeatureOptions {
    /// The most frequent words that are features, at most.
    pub(crate) words: usize,
    /// Features with fewer rows are passed over.
    pub(crate) min_count: usize,
    /// Whether what the row before it in the sentence is counts too.
    pub(crate) previous: bool,
}

/// The features of all rows, each distinct set of them once.
pub(crate) struct Features {
    /// What each feature is called, `[n_features]`: `'very'`, `ADJ`, `after ADJ`.
    pub(crate) names: Vec<String>,
    /// Rows that have each feature, `[n_features]`.
    pub(crate) counts: Vec<u32>,
    /// The set of each row, `[n_tokens]`.
    pub(crate) set_of: Vec<u32>,
    /// Where each set starts in `ids`, `[n_sets + 1]`.
    offsets: Vec<u32>,
    /// The features of each set, ascending.
    ids: Vec<u32>,
}

impl Features {
    /// The features of the rows: words, most frequent first, then labels; then those of the row before.
    ///
    /// # Errors
    /// If the tables do not fit into the memory.
    pub(crate) fn new(
        data: &TextActivations<'_>,
        options: FeatureOptions,
        method: &'static str,
        ctx: Context<'_>,
    ) -> Result<Self, MethodError> {
        let text = data.text;
        let own = Own::new(data, options);
        let n_own = own.names.len() as u32;
        let mut all = Self {
            names: own.names.clone(),
            counts: Vec::new(),
            set_of: Vec::with_capacity(text.n_tokens()),
            offsets: vec![0],
            ids: Vec::new(),
        };
        if options.previous {
            all.names.extend(own.names.iter().map(|name| format!("after {name}")));
        }
        all.counts.resize(all.names.len(), 0);
        let mut seen: HashMap<Vec<u32>, u32> = HashMap::new();
        for row in 0..text.n_tokens() {
            let mut set = own.of(data, row);
            let has_previous = row > 0 && text.sentence_of()[row - 1] == text.sentence_of()[row];
            if options.previous && has_previous {
                set.extend(own.of(data, row - 1).into_iter().map(|id| id + n_own));
            }
            for &id in &set {
                all.counts[id as usize] += 1;
            }
            let code = *seen.entry(set).or_insert_with_key(|set| {
                all.ids.extend(set);
                all.offsets.push(all.ids.len() as u32);
                all.offsets.len() as u32 - 2
            });
            all.set_of.push(code);
        }
        // The sets, and the rows of each feature.
        let n_members: usize = all.counts.iter().map(|&count| count as usize).sum();
        let n_bytes = 4 * (all.ids.len() + all.offsets.len() + all.set_of.len() + n_members);
        if n_bytes > ctx.memory {
            return Err(MethodError::Parameter {
                method,
                name: "memory",
                value: format!("{} bytes", ctx.memory),
                expected: "room for the features of all rows: more memory, fewer words or labels",
            });
        }
        Ok(all)
    }

    /// Number of sets.
    pub(crate) fn n_sets(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The features of a set.
    pub(crate) fn of_set(&self, set: u32) -> &[u32] {
        &self.ids[self.offsets[set as usize] as usize..self.offsets[set as usize + 1] as usize]
    }

    /// The rows of each feature.
    pub(crate) fn rows(&self) -> RowGroups {
        RowGroups::of_members(self.names.len(), self.set_of.iter().map(|&set| self.of_set(set)))
    }

    /// The features of a row.
    pub(crate) fn of_row(&self, row: usize) -> &[u32] {
        self.of_set(self.set_of[row])
    }
}

/// The features of a row by itself.
struct Own {
    names: Vec<String>,
    /// The feature of each word type, `[n_types]`.
    of_type: Vec<Option<u32>>,
    /// The feature of each concept, `[n_concepts]`.
    of_concept: Vec<Option<u32>>,
}

impl Own {
    fn new(data: &TextActivations<'_>, options: FeatureOptions) -> Self {
        let types = data.text.types();
        let mut counts = vec![0_usize; types.len()];
        data.text.type_of().iter().for_each(|&word| counts[word as usize] += 1);
        let enough = |count: usize| count >= options.min_count.max(1);
        let mut frequent: Vec<usize> = (0..types.len()).filter(|&word| enough(counts[word])).collect();
        frequent.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| types[a].cmp(&types[b])));
        frequent.truncate(options.words);
        let mut own = Self { names: Vec::new(), of_type: vec![None; types.len()], of_concept: Vec::new() };
        for word in frequent {
            own.of_type[word] = Some(own.names.len() as u32);
            own.names.push(format!("'{}'", types[word]));
        }
        if let Some(labels) = data.labels {
            for (concept, count) in labels.concepts().iter().zip(labels.counts()) {
                let id = own.names.len() as u32;
                own.of_concept.push(enough(count).then_some(id));
                if enough(count) {
                    own.names.push(concept.name.clone());
                }
            }
        }
        own
    }

    /// The features of a row, ascending.
    fn of(&self, data: &TextActivations<'_>, row: usize) -> Vec<u32> {
        let word = self.of_type[data.text.type_of()[row] as usize];
        let labels = data.labels.map_or(&[][..], |labels: &Labels| labels.of(row));
        word.into_iter().chain(labels.iter().filter_map(|&concept| self.of_concept[concept as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use ndarray::Array2;
    use nissl_core::{Matrix, TextRows};

    use super::*;

    #[test]
    fn rows_have_their_word_their_labels_and_what_stands_before_them() {
        let text = TextRows::from_words([(0, "the"), (0, "cat"), (1, "the"), (1, "dog"), (1, "the")]);
        let labels = Labels::from_names(&[Some("DET"), Some("NOUN"), Some("DET"), Some("NOUN"), None]);
        let x = Matrix::new(Array2::zeros((5, 0)), Vec::new()).unwrap();
        let data = TextActivations::new(&x, &text).unwrap().with_labels(&labels).unwrap();
        let options = FeatureOptions { words: 2, min_count: 1, previous: true };
        let features = Features::new(&data, options, "test", Context::default()).unwrap();
        let names =
            |row| features.of_row(row).iter().map(|&id| features.names[id as usize].as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["'the'", "DET"]);
        assert_eq!(names(1), ["'cat'", "NOUN", "after 'the'", "after DET"]);
        assert_eq!(names(2), ["'the'", "DET"], "nothing stands before the first word of a sentence");
        assert_eq!(names(3), ["NOUN", "after 'the'", "after DET"], "the third word is passed over");
        assert_eq!(names(4), ["'the'", "after NOUN"]);
        assert_eq!(features.counts[..4], [3, 1, 2, 2]);
        assert_eq!(features.n_sets(), 4);
    }
}
