use std::fs;

use tempfile::TempDir;

use super::*;

fn summary(name: &str, text: &str, options: &ReadOptions) -> CorpusSummary {
    let folder = TempDir::new().expect("a folder for the test");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("the corpus is written");
    survey(&path, options).expect("the corpus is well-formed")
}

fn default(name: &str, text: &str) -> CorpusSummary {
    summary(name, text, &ReadOptions::default())
}

#[test]
fn a_survey_names_columns_and_labels() {
    let text = "label,text,source\n1,so good,web\n0,bad,\n1,well,web\n";
    let summary = default("t.csv", text);
    assert_eq!(summary.format, "csv");
    assert_eq!((summary.counts.sentences, summary.counts.words), (3, 4));
    assert_eq!(summary.column_names(), ["label", "source"]);
    assert_eq!(
        summary.columns[0],
        ColumnSummary {
            name: "label".to_owned(),
            level: LabelLevel::Sentence,
            n_labeled: 3,
            labels: vec![("1".to_owned(), 2), ("0".to_owned(), 1)],
            truncated: false,
        }
    );
    assert_eq!(summary.columns[1].n_labeled, 2);
    let json = serde_json::to_string(&summary).expect("a summary is plain data");
    assert_eq!(serde_json::from_str::<CorpusSummary>(&json).expect("it reads back"), summary);
}

#[test]
fn a_survey_keeps_so_many_labels() {
    let lines: Vec<String> = (0..MOST_LABELS + 5).map(|idx| format!("{{\"text\": \"a\", \"id\": {idx}}}")).collect();
    let column = &default("t.jsonl", &lines.join("\n")).columns[0];
    assert_eq!((column.labels.len(), column.n_labeled, column.truncated), (MOST_LABELS, MOST_LABELS + 5, true));
}

#[test]
fn the_digest_is_that_of_the_content() {
    let csv = default("t.csv", "text,label\nso good,1\n");
    assert_eq!(csv.digest, default("u.tsv", "label\ttext\n1\tso good\n").digest, "the format makes no difference");
    let whitespace = ReadOptions { word_split: crate::WordSplit::Whitespace, ..ReadOptions::default() };
    assert_eq!(csv.digest, summary("t.csv", "text,label\nso good,1\n", &whitespace).digest, "nor do equal words");
    for other in
        ["text,label\nso good,0\n", "text,label\nso  good,1\n", "text,mark\nso good,1\n", "text,label\nso gooD,1\n"]
    {
        assert_ne!(csv.digest, default("t.csv", other).digest, "{other}");
    }
    assert_eq!(csv.digest.len(), 64);
}
