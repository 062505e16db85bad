//! CoNLL-U: treebanks of Universal Dependencies.
//!
//! Columns: `lemma`, `upos`, `xpos`, each key of FEATS under its own name (`Number`), `deprel`; and for the sentence
//! each comment `# key = value` besides the text and the name, with `newdoc` and `newpar` carried on until the next.
//! Words are found by walking along `# text =`; without it, the text is put together from the words and `SpaceAfter`.
//! Empty nodes are not in the text and are left out.

use std::ops::Range;

use super::{ColumnNames, Format, SentenceSource};
use crate::corpus::CorpusCounts;
use crate::error::{DataError, shown};
use crate::lines::Lines;
use crate::options::Multiword;
use crate::sentence::{Label, Sentence, Word};
use crate::words::find_words;

pub(super) const FORMAT: Format = Format {
    name: "conllu",
    summary: "CoNLL-U treebank: lemma, upos, xpos, every feature and deprel are columns",
    suffixes: &["conllu", "conll"],
    open: |input, options| {
        let (lines, multiword) = (input.lines()?, options.multiword);
        let columns = ColumnNames::default();
        Ok(Box::new(Conllu { lines, multiword, columns, document: Vec::new() }))
    },
};

/// Number of columns of a word's line.
const N_COLUMNS: usize = 10;

struct Conllu {
    lines: Lines,
    multiword: Multiword,
    columns: ColumnNames,
    /// The labels that go on until the next document or paragraph.
    document: Vec<Label>,
}

/// A sentence as it stands in the file.
#[derive(Default)]
struct Block {
    id: String,
    line: usize,
    text: Option<String>,
    labels: Vec<Label>,
    /// What is written, with the words that each consists of.
    surfaces: Vec<Surface>,
    words: Vec<Word>,
    n_empty_nodes: usize,
    /// Values of a column that has one already.
    n_ignored: usize,
}

struct Surface {
    form: String,
    words: Range<usize>,
    space_after: bool,
}

impl SentenceSource for Conllu {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        while let Some(block) = self.next_block()? {
            counts.empty_nodes += block.n_empty_nodes;
            counts.values_ignored += block.n_ignored;
            if block.words.is_empty() {
                counts.empty += 1;
            } else {
                return Ok(Some(block.into_sentence(self.multiword, counts)));
            }
        }
        Ok(None)
    }
}

impl Conllu {
    /// The lines up to the next blank one, as a block; `None` at the end of the file.
    fn next_block(&mut self) -> Result<Option<Block>, DataError> {
        let mut block = Block::default();
        loop {
            let Some(line) = self.lines.next()? else {
                if block.line == 0 {
                    return Ok(None);
                }
                break;
            };
            if line.text.trim().is_empty() {
                if block.line > 0 {
                    break;
                }
                continue;
            }
            if block.line == 0 {
                block.line = line.number;
            }
            if let Some(comment) = line.text.strip_prefix('#') {
                read_comment(comment, &mut block, &mut self.document, &mut self.columns);
            } else {
                read_word(line.text, &mut block, &mut self.columns)
                    .map_err(|(expected, got)| line.malformed(expected, got))?;
            }
        }
        if let Some(last) = block.surfaces.last()
            && last.words.end > block.words.len()
        {
            let expected = format!("word {} of the multiword token {}", block.words.len() + 1, shown(&last.form));
            return Err(DataError::malformed(
                self.lines.path(),
                self.lines.n_lines(),
                expected,
                "the end of the sentence",
            ));
        }
        block.labels.splice(0..0, self.document.iter().cloned());
        Ok(Some(block))
    }
}

/// `# key = value`; anything else is a remark.
fn read_comment(comment: &str, block: &mut Block, document: &mut Vec<Label>, columns: &mut ColumnNames) {
    let (key, value) = comment.split_once('=').map_or((comment.trim(), ""), |(key, value)| (key.trim(), value.trim()));
    match key {
        // The text is taken as it is, but for the one space that follows the sign.
        "text" => {
            block.text = comment.split_once('=').map(|(_, text)| text.strip_prefix(' ').unwrap_or(text).to_owned());
        }
        "sent_id" => value.clone_into(&mut block.id),
        "newdoc" | "newdoc id" => {
            document.clear();
            set_label(document, columns, "newdoc", value);
        }
        "newpar" | "newpar id" => {
            document.retain(|label| &*label.column != "newpar");
            set_label(document, columns, "newpar", value);
        }
        _ => block.n_ignored += set_label(&mut block.labels, columns, key, value),
    }
}

/// Adds a label, unless it is empty or its column has one; returns how many values were ignored for the latter.
fn set_label(labels: &mut Vec<Label>, columns: &mut ColumnNames, column: &str, value: &str) -> usize {
    if column.is_empty() || value.is_empty() {
        return 0;
    }
    if labels.iter().any(|label| &*label.column == column) {
        return 1;
    }
    labels.push(Label { column: columns.get(column), value: value.to_owned() });
    0
}

/// Expected and got.
type Mismatch = (String, String);

/// A line of ten columns: a word, the head of a multiword token (`3-4`) or an empty node (`7.1`).
fn read_word(line: &str, block: &mut Block, columns: &mut ColumnNames) -> Result<(), Mismatch> {
    let mut fields = [""; N_COLUMNS];
    let mut n_fields = 0;
    for field in line.split('\t') {
        if let Some(slot) = fields.get_mut(n_fields) {
            *slot = field;
        }
        n_fields += 1;
    }
    if n_fields != N_COLUMNS {
        return Err((format!("{N_COLUMNS} columns with tabs between"), format!("{n_fields}")));
    }
    let [id, form, lemma, upos, xpos, feats, _head, deprel, _deps, misc] = fields;
    if form.trim().is_empty() {
        return Err(("a form in the second column".to_owned(), "nothing".to_owned()));
    }
    let next = block.words.len() + 1;
    let wrong_id = || (format!("word number {next}"), shown(id));
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong_id());
    let space_after = !misc.split('|').any(|entry| entry == "SpaceAfter=No");
    let open_until = block.surfaces.last().map_or(0, |surface| surface.words.end);

    if let Some((first, last)) = id.split_once('-') {
        let (first, last) = (number(first)?, number(last)?);
        if first != next || open_until >= next || last <= first {
            let expected = format!("a multiword token of several words from {} on", open_until.max(next - 1) + 1);
            return Err((expected, shown(id)));
        }
        block.surfaces.push(Surface { form: form.to_owned(), words: first - 1..last, space_after });
        return Ok(());
    }
    if let Some((after, _)) = id.split_once('.') {
        if number(after)? != next - 1 {
            return Err((format!("an empty node after word {}", next - 1), shown(id)));
        }
        block.n_empty_nodes += 1;
        return Ok(());
    }
    if number(id)? != next {
        return Err(wrong_id());
    }
    let mut labels = Vec::with_capacity(8);
    let mut label = |column: &str, value: &str| {
        if value != "_" {
            block.n_ignored += set_label(&mut labels, columns, column, value);
        }
    };
    label("lemma", lemma);
    label("upos", upos);
    label("xpos", xpos);
    if feats != "_" {
        for feature in feats.split('|') {
            let (key, value) = feature
                .split_once('=')
                .filter(|(key, value)| !key.is_empty() && !value.is_empty())
                .ok_or_else(|| ("features of the form Name=Value|Name=Value, or _".to_owned(), shown(feats)))?;
            label(key, value);
        }
    }
    label("deprel", deprel);
    if open_until < next {
        block.surfaces.push(Surface { form: form.to_owned(), words: next - 1..next, space_after });
    }
    block.words.push(Word { span: 0..0, form: form.to_owned(), labels });
    Ok(())
}

impl Block {
    /// Puts the words into the text.
    fn into_sentence(self, multiword: Multiword, counts: &mut CorpusCounts) -> Sentence {
        let Self { id, line, text, labels, surfaces, mut words, .. } = self;
        let given = text.map(|text| {
            let spans = find_words(&text, surfaces.iter().map(|surface| surface.form.as_str()));
            (text, spans)
        });
        let (text, spans) = match given {
            Some((text, Some(spans))) => (text, spans),
            Some((_, None)) => {
                counts.texts_mismatched += 1;
                rebuild(&surfaces)
            }
            None => {
                counts.texts_rebuilt += 1;
                rebuild(&surfaces)
            }
        };
        for (surface, span) in surfaces.iter().zip(&spans) {
            let parts = &mut words[surface.words.clone()];
            match parts {
                [word] => word.span = span.clone(),
                parts => place_parts(parts, &text[span.clone()], span.start, multiword, counts),
            }
        }
        if multiword == Multiword::Surface {
            words = surfaces
                .iter()
                .zip(spans)
                .map(|(surface, span)| join(&words[surface.words.clone()], surface, span))
                .collect();
        }
        Sentence { id, line, text, words, labels }
    }
}

/// The text and spans of words with single spaces between them, but where `SpaceAfter=No`.
fn rebuild(surfaces: &[Surface]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut spans = Vec::with_capacity(surfaces.len());
    for (idx, surface) in surfaces.iter().enumerate() {
        spans.push(text.len()..text.len() + surface.form.len());
        text.push_str(&surface.form);
        if surface.space_after && idx + 1 < surfaces.len() {
            text.push(' ');
        }
    }
    (text, spans)
}

/// Gives the words of a multiword token their places: their own when they spell it, else the whole.
fn place_parts(parts: &mut [Word], surface: &str, start: usize, multiword: Multiword, counts: &mut CorpusCounts) {
    counts.multiword_tokens += 1;
    let mut at = 0;
    let mut spelled = true;
    for part in parts.iter_mut() {
        let length = spelled.then(|| same_start(&surface[at..], &part.form)).flatten();
        spelled = length.is_some();
        let end = at + length.unwrap_or(0);
        part.span = start + at..start + end;
        at = end;
    }
    if !spelled || at != surface.len() {
        counts.multiword_shared += 1;
        if multiword == Multiword::Syntactic {
            counts.words_sharing_span += parts.len();
        }
        for part in parts {
            part.span = start..start + surface.len();
        }
    }
}

/// How many bytes at the start of `text` are the form, capital letters or not.
fn same_start(text: &str, form: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in form.chars() {
        let got = rest.next()?;
        if got != wanted && !got.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
}

/// One word for a multiword token; its labels are its parts', joined by `+`, where any has one.
fn join(parts: &[Word], surface: &Surface, span: Range<usize>) -> Word {
    if let [word] = parts {
        return word.clone();
    }
    let mut labels: Vec<Label> = Vec::new();
    for label in parts.iter().flat_map(|part| &part.labels) {
        match labels.iter_mut().find(|known| known.column == label.column) {
            Some(known) => {
                known.value.push('+');
                known.value.push_str(&label.value);
            }
            None => labels.push(label.clone()),
        }
    }
    Word { span, form: surface.form.clone(), labels }
}

#[cfg(test)]
mod tests;
