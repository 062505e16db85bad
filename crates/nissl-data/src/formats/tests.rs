use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::corpus::{CorpusReader, open};
use crate::options::Prose;

#[test]
fn every_file_of_the_folder_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/formats");
    let names: BTreeSet<&str> = FORMATS.iter().map(|format| format.name).collect();
    for entry in fs::read_dir(folder).expect("the folder of formats") {
        let path = entry.expect("an entry of the folder").path();
        if path.extension().is_some_and(|suffix| suffix == "rs") {
            let stem = path.file_stem().expect("a file name").to_string_lossy().into_owned();
            let is_format = names.contains(stem.as_str());
            assert!(is_format || stem == "tests", "{stem}.rs has no line in FORMATS");
        }
    }
    let suffixes: Vec<&str> = FORMATS.iter().flat_map(|format| format.suffixes).copied().collect();
    assert_eq!(suffixes.iter().collect::<BTreeSet<_>>().len(), suffixes.len(), "a suffix has one format");
    assert_eq!(names.len(), FORMATS.len(), "a name has one format");
}

#[test]
fn the_suffix_tells_the_format_unless_another_is_named() {
    let chosen = |path: &str, format: Option<&str>| {
        let options = ReadOptions { format: format.map(str::to_owned), ..ReadOptions::default() };
        choose(Path::new(path), &options).map(|format| format.name).map_err(|error| error.to_string())
    };
    assert_eq!(chosen("a/b.CONLLU", None), Ok("conllu"));
    assert_eq!(chosen("train.word", None), Ok("parallel"));
    assert_eq!(chosen("a.csv", Some("text")), Ok("text"));
    assert_eq!(
        chosen("a.xml", None),
        Err("a.xml: cannot tell the format from the suffix; give one of conllu, parallel, csv, tsv, jsonl, text".into())
    );
    assert_eq!(
        chosen("a.xml", Some("connlu")),
        Err("corpus: no format is called 'connlu'; did you mean conllu? \
             (there are: conllu, parallel, csv, tsv, jsonl, text)"
            .into())
    );
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = tempfile::TempDir::new().expect("a folder for the test");
    for name in ["missing.conllu", "missing.csv", "missing.word", "missing.txt", "missing.jsonl"] {
        let path = folder.path().join(name);
        let error = open(&path, &ReadOptions::default()).err().expect("there is no such file");
        assert_eq!(error.to_string(), format!("cannot read {}", path.display()));
        assert!(matches!(error, DataError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    }
    let options = ReadOptions { format: Some("text".to_owned()), ..ReadOptions::default() };
    let error = open(folder.path(), &options).err().expect("a folder is no file");
    assert_eq!(error.to_string(), format!("cannot read {}", folder.path().display()));
}

#[test]
fn a_limit_ends_the_corpus() {
    let input = Box::new(Cursor::new(b"a\nb\nc\n".to_vec()));
    let options = ReadOptions { limit: Some(2), ..ReadOptions::default() };
    let reader = CorpusReader::from_reader("t.txt", input, &options).expect("the format is known");
    assert_eq!(reader.count(), 2);
}

#[test]
fn a_line_without_end_is_refused() {
    let endless = std::io::BufReader::new(std::io::repeat(b'a'));
    let mut reader = CorpusReader::from_reader("t.txt", Box::new(endless), &ReadOptions::default()).expect("it opens");
    let error = reader.next().and_then(Result::err).expect("there is no end");
    assert_eq!(error.to_string(), "t.txt:1: expected a line of at most 67108864 bytes, got a longer one");
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..120), "[a-z\\[\\]{}:\"',\n\t .0-9é]{0,120}".prop_map(String::into_bytes)],
        header in any::<bool>(),
        paragraphs in any::<bool>(),
    ) {
        let prose = if paragraphs { Prose::Paragraphs } else { Prose::Lines };
        for format in FORMATS {
            let options = ReadOptions {
                format: Some(format.name.to_owned()),
                text_column: (!header).then(|| "column1".to_owned()),
                header,
                prose,
                split_sentences: paragraphs,
                ..ReadOptions::default()
            };
            let Ok(reader) = CorpusReader::from_reader("t", Box::new(Cursor::new(bytes.clone())), &options) else {
                continue;
            };
            for sentence in reader.map_while(Result::ok) {
                let words: String = sentence.words.iter().map(|word| &sentence.text[word.span.clone()]).collect();
                prop_assert!(!words.is_empty(), "{}", format.name);
            }
        }
    }
}
