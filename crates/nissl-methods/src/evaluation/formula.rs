//! Formulas of words and labels, read as explanations are written: `(ADJ OR 'old') AND NOT after 'very'`.

use nissl_core::{Labels, TextRows, nearest};
use thiserror::Error;

/// What must hold in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formula {
    /// It is this word.
    Word(String),
    /// It has the label with this number.
    Label(u32),
    /// The row before it in its sentence is so.
    After(Box<Self>),
    /// It is not so.
    Not(Box<Self>),
    /// It is all of these.
    And(Vec<Self>),
    /// It is one of these at least.
    Or(Vec<Self>),
}

/// Why a text is no formula.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("formula, character {at}: expected {expected}, got {got}")]
pub struct FormulaError {
    /// The offending character, from 1.
    pub at: usize,
    /// What could stand there.
    pub expected: String,
    /// What does.
    pub got: String,
}

/// How deep parentheses and negations may stand in one another.
const DEEPEST: usize = 100;

impl Formula {
    /// Reads a formula: words in quotes, labels by their names, `after` before either of them for the row before, joined
    /// by `AND`, `OR` and `NOT`. `NOT` binds most, `OR` least.
    ///
    /// # Errors
    /// If it is not written so, or names a label that is not there.
    pub fn parse(text: &str, labels: &Labels) -> Result<Self, FormulaError> {
        let mut parser = Parser { text, at: 0, labels, depth: 0 };
        let formula = parser.either()?;
        if parser.rest().is_empty() { Ok(formula) } else { Err(parser.fail("AND, OR or the end")) }
    }

    /// Whether it holds in each row, `[n_tokens]`.
    ///
    /// # Panics
    /// If text and labels have not the same number of rows.
    pub fn rows(&self, text: &TextRows, labels: &Labels) -> Vec<bool> {
        assert_eq!(text.n_tokens(), labels.n_tokens(), "a word for each label");
        (0..text.n_tokens()).map(|row| self.holds(row, text, labels)).collect()
    }

    fn holds(&self, row: usize, text: &TextRows, labels: &Labels) -> bool {
        match self {
            Self::Word(word) => text.word(row) == word,
            Self::Label(label) => labels.of(row).contains(label),
            Self::After(what) => {
                let before = row.checked_sub(1).filter(|&before| text.sentence_of()[before] == text.sentence_of()[row]);
                before.is_some_and(|before| what.holds(before, text, labels))
            }
            Self::Not(what) => !what.holds(row, text, labels),
            Self::And(all) => all.iter().all(|what| what.holds(row, text, labels)),
            Self::Or(any) => any.iter().any(|what| what.holds(row, text, labels)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes that are read.
    at: usize,
    labels: &'a Labels,
    depth: usize,
}

/// Whether a name may end here.
fn ends(rest: &str) -> bool {
    rest.is_empty() || [" OR ", " AND ", ")"].iter().any(|end| rest.starts_with(end))
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Reads a word of the language, if it stands here.
    fn take(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn fail(&self, expected: impl Into<String>) -> FormulaError {
        let at = self.text[..self.at].chars().count() + 1;
        let got = if self.rest().is_empty() { "the end".to_owned() } else { format!("'{}'", self.rest()) };
        FormulaError { at, expected: expected.into(), got }
    }

    fn either(&mut self) -> Result<Formula, FormulaError> {
        let mut any = vec![self.both()?];
        while self.take("OR ") {
            any.push(self.both()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Formula::Or(any) })
    }

    fn both(&mut self) -> Result<Formula, FormulaError> {
        let mut all = vec![self.operand()?];
        while self.take("AND ") {
            all.push(self.operand()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Formula::And(all) })
    }

    fn operand(&mut self) -> Result<Formula, FormulaError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fail("fewer parentheses and NOTs in one another"));
        }
        let found = if self.take("NOT ") {
            Formula::Not(Box::new(self.operand()?))
        } else if self.take("(") {
            let inner = self.either()?;
            if !self.take(")") {
                return Err(self.fail("AND, OR or )"));
            }
            inner
        } else if self.take("after ") {
            Formula::After(Box::new(self.name()?))
        } else {
            self.name()?
        };
        self.depth -= 1;
        self.skip_blanks();
        Ok(found)
    }

    /// A word in quotes, or the longest name of a label that stands here.
    fn name(&mut self) -> Result<Formula, FormulaError> {
        self.skip_blanks();
        let rest = self.rest();
        if let Some(inner) = rest.strip_prefix('\'') {
            // A quote within the word is not followed by what ends a name; nor is the word empty.
            let close = inner.match_indices('\'').map(|(at, _)| at).find(|&at| at > 0 && ends(&inner[at + 1..]));
            let Some(close) = close else { return Err(self.fail("a word in quotes, and a quote behind it")) };
            self.at += close + 2;
            return Ok(Formula::Word(inner[..close].to_owned()));
        }
        let names = self.labels.concepts().iter().map(|concept| concept.name.as_str()).enumerate();
        let here = names.filter(|(_, name)| rest.strip_prefix(name).is_some_and(|rest| ends(rest.trim_end())));
        let longest = here.max_by_key(|(idx, name)| (name.len(), std::cmp::Reverse(*idx)));
        let Some((label, name)) = longest else {
            let end = (1..rest.len()).find(|&at| rest.is_char_boundary(at) && ends(&rest[at..])).unwrap_or(rest.len());
            let known = self.labels.concepts().iter().map(|concept| &concept.name);
            let expected = match nearest(&rest[..end], known) {
                Some(name) => format!("a word in quotes or a label, such as {name}"),
                None => "a word in quotes or a label of the text".to_owned(),
            };
            return Err(self.fail(expected));
        };
        self.at += name.len();
        Ok(Formula::Label(label as u32))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use nissl_core::{Concept, Context, Profiler, TextActivations};
    use nissl_testing::planted::key;
    use nissl_testing::{PlantedActivations, Tol, assert_close};

    use super::*;
    use crate::evaluation::explanation::Judgement;
    use crate::probes::ChosenNeurons;
    use crate::profilers::Compositional;
    use crate::rankers::Threshold;

    fn toy() -> (TextRows, Labels) {
        let words = ["the", "old", "cat", "don't", ")"];
        let text = TextRows::from_words(words.map(|word| (0, word)).into_iter().chain([(1, "'")]));
        let concepts = ["ADJ", "tag=ADJ OR so", "NOUN"].map(Concept::new).to_vec();
        (text, Labels::several(concepts, [vec![], vec![0, 1], vec![2], vec![], vec![], vec![]]))
    }

    fn rows(formula: &str) -> Vec<usize> {
        let (text, labels) = toy();
        let rows = Formula::parse(formula, &labels).unwrap().rows(&text, &labels);
        (0..rows.len()).filter(|&row| rows[row]).collect()
    }

    #[test]
    fn words_labels_and_what_stands_before_are_joined() {
        for (formula, want) in [
            ("'old'", vec![1]),
            ("ADJ OR NOUN", vec![1, 2]),
            ("ADJ AND 'old' OR 'the'", vec![0, 1]),
            ("ADJ AND ('old' OR 'the')", vec![1]),
            ("NOT (ADJ OR NOUN) AND NOT 'the'", vec![3, 4, 5]),
            ("after ADJ", vec![2]),
            ("after ')'", vec![]),
            ("'don't' OR ')' OR '''", vec![3, 4, 5]),
            ("tag=ADJ OR so", vec![1]),
            ("'nobody says it'", vec![]),
        ] {
            assert_eq!(rows(formula), want, "{formula}");
        }
    }

    #[test]
    fn what_is_no_formula_is_told_with_the_place_and_the_nearest_label() {
        let (_, labels) = toy();
        let error = |text: &str| Formula::parse(text, &labels).unwrap_err().to_string();
        assert!(error("ADJ OR NUON").contains("character 8") && error("ADJ OR NUON").contains("such as NOUN"));
        assert!(error("(ADJ OR 'a'").contains("got the end"));
        assert!(error("ADJ 'a'").contains("character 1"), "{}", error("ADJ 'a'"));
        assert!(error("'a").contains("a quote behind it"));
        assert!(error("").contains("got the end"));
        assert!(error(&"(".repeat(5000)).contains("fewer parentheses"));
    }

    #[test]
    fn explanations_of_planted_neurons_are_read_back_with_their_scores() {
        let planted = PlantedActivations::new(5, 0.0);
        let columns = [key::QUOTE, key::MODIFIER, key::NUMBER];
        let x = ChosenNeurons::new(&planted.x, &columns);
        let data = TextActivations::new(&x, &planted.text).unwrap().with_labels(&planted.tag).unwrap();
        let method =
            Compositional { threshold: Threshold::Value, value: 0.5, previous: true, ..Compositional::default() };
        let profiles = method.profile(data, Context::default()).unwrap();
        for (profile, column) in profiles.iter().zip(columns) {
            let values = planted.x.values().column(column).to_vec();
            assert!(!profile.explanations.is_empty());
            for explanation in &profile.explanations {
                let formula = Formula::parse(&explanation.text, &planted.tag).unwrap();
                let told = Judgement::of(&formula.rows(&planted.text, &planted.tag), &values, 0.5);
                let union = told.hits + told.missed + told.spurious;
                let iou = told.hits as f32 / union as f32;
                assert_close(&explanation.text, &explanation.score, &iou, Tol::EXACT);
            }
        }
    }
}
