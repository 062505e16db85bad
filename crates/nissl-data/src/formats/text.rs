//! Plain text: a sentence a line, or prose in paragraphs, cut into sentences on request.

use std::collections::VecDeque;

use super::{Format, SentenceSource};
use crate::corpus::CorpusCounts;
use crate::error::DataError;
use crate::lines::{LONGEST, Lines};
use crate::options::{Prose, ReadOptions};
use crate::record::sentence;
use crate::sentence::Sentence;
use crate::splitter::split_sentences;

pub(super) const FORMAT: Format = Format {
    name: "text",
    summary: "plain text: a sentence a line, or prose in paragraphs",
    suffixes: &["txt", "text"],
    open: |input, options| {
        Ok(Box::new(PlainText { lines: input.lines()?, options: options.clone(), ready: VecDeque::new() }))
    },
};

struct PlainText {
    lines: Lines,
    options: ReadOptions,
    /// Sentences of the last unit that have not been given out yet.
    ready: VecDeque<Sentence>,
}

impl SentenceSource for PlainText {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        loop {
            if let Some(sentence) = self.ready.pop_front() {
                return Ok(Some(sentence));
            }
            let unit = match self.options.prose {
                Prose::Lines => self.next_line()?,
                Prose::Paragraphs => self.next_paragraph()?,
            };
            let Some((text, line)) = unit else { return Ok(None) };
            let whole = 0..text.len();
            let spans = if self.options.split_sentences { split_sentences(&text) } else { vec![whole] };
            let before = self.ready.len();
            let split = self.options.word_split;
            self.ready.extend(spans.into_iter().filter_map(|span| sentence(&text[span], Vec::new(), line, split)));
            if self.ready.len() == before {
                counts.empty += 1;
            }
        }
    }
}

impl PlainText {
    /// The next line and its number.
    fn next_line(&mut self) -> Result<Option<(String, usize)>, DataError> {
        Ok(self.lines.next()?.map(|line| (line.text.to_owned(), line.number)))
    }

    /// The next lines that are not blank, and the number of the first.
    fn next_paragraph(&mut self) -> Result<Option<(String, usize)>, DataError> {
        let (mut text, mut first) = (String::new(), 0);
        while let Some(line) = self.lines.next()? {
            let mut words = line.text.split_whitespace().peekable();
            if words.peek().is_none() {
                if text.is_empty() {
                    continue;
                }
                break;
            }
            for word in words {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
            if first == 0 {
                first = line.number;
            }
            if text.len() > LONGEST {
                let expected = format!("a paragraph of at most {LONGEST} bytes");
                return Err(line.malformed(expected, "a longer one"));
            }
        }
        Ok((!text.is_empty()).then_some((text, first)))
    }
}

#[cfg(test)]
mod tests;
