//! Raters who know the answer find the real contexts; files that were changed are refused with the place.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::{PAST_FORMS, PRESENT_FORMS, key};
use tempfile::TempDir;

use super::*;
use crate::testing::planted_store;

fn config() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.0));
    let neurons = [key::VERB, key::QUOTE].map(PlantedActivations::neuron).to_vec();
    let explanations = ["verbs", "in \"quotes\", or nearly"].map(str::to_owned).to_vec();
    (folder, Config { store, neurons, explanations, draws: 100, ..Config::default() })
}

/// The sheet as its lines, each with what a person who knows verbs says of it.
fn rated(folder: &TempDir, config: &Config) -> Vec<String> {
    let path = folder.path().join("sheet.csv");
    run(&Config { out: Some(path.clone()), ..config.clone() }, &NoProgress).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let fits = |line: &str| {
        let word = line.split('[').nth(1).unwrap().split(']').next().unwrap();
        if PAST_FORMS.contains(&word) || PRESENT_FORMS.contains(&word) { "yes" } else { "No " }
    };
    let line = |(idx, line): (usize, &str)| if idx == 0 { line.to_owned() } else { format!("{line}{}", fits(line)) };
    text.lines().enumerate().map(line).collect()
}

fn save(folder: &TempDir, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn two_raters_find_the_real_contexts_whatever_the_order_of_the_rows() {
    let (folder, mut config) = config();
    let lines = rated(&folder, &config);
    assert_eq!((lines.len(), lines[0].as_str()), (41, "item,explanation,context,fits"));
    let mut sorted = lines.clone();
    sorted[1..].reverse();
    sorted[0].insert(0, '\u{feff}');
    config.ratings = vec![save(&folder, "a.csv", &lines), save(&folder, "b.csv", &sorted)];
    let report = run(&config, &NoProgress).unwrap();
    let verb = &report.neurons[0].rating;
    assert_eq!((verb.precision.unwrap().value, verb.kappa), (1.0, Some(1.0)));
    assert!(verb.random.unwrap().value < 0.5, "few random words are verbs");
    assert!(report.neurons[1].rating.precision.unwrap().value < 1.0, "a quote is no verb");
    assert_eq!(report.all.unwrap().by_rater.len(), 2);
}

#[test]
fn changed_sheets_are_refused_with_line_and_column() {
    let (folder, config) = config();
    let lines = rated(&folder, &config);
    let refused = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        let ratings = vec![save(&folder, "changed.csv", &lines)];
        run(&Config { ratings, ..config.clone() }, &NoProgress).unwrap_err().to_string()
    };
    let error = refused(&|lines| drop(lines.remove(7)));
    assert!(error.contains("changed.csv") && error.contains("all 40 items") && error.contains("no item 7"), "{error}");
    let error = refused(&|lines| lines[3] = lines[3].replacen("verbs", "words", 1));
    assert!(error.contains("line 4, column explanation") && error.contains("'words'"), "{error}");
    let error = refused(&|lines| lines[5] = lines[5].replacen('[', "(", 1));
    assert!(error.contains("line 6, column context"), "{error}");
    let error = refused(&|lines| lines[2] = format!("{}?", lines[2]));
    assert!(error.contains("line 3, column fits") && error.contains("yes or no"), "{error}");
    let error = refused(&|lines| lines[9] = lines[8].clone());
    assert!(error.contains("line 10, column item") && error.contains("line 9"), "{error}");
    let error = refused(&|lines| lines[1] = lines[1].replacen('1', "99", 1));
    assert!(error.contains("line 2, column item") && error.contains("from 1 to 40"), "{error}");
    let error = refused(&|lines| lines[0] = "item;explanation;context;fits".to_owned());
    assert!(error.contains("changed.csv"), "{error}");
    let error = refused(&|lines| lines[4].push_str(",more"));
    assert!(error.contains("4 columns"), "{error}");
}

#[test]
fn a_page_to_rate_escapes_what_it_shows_and_loads_nothing() {
    let (folder, mut config) = config();
    config.explanations = vec!["<script>alert(1)</script>".to_owned()];
    let path = folder.path().join("sheet.html");
    config.out = Some(path.clone());
    run(&config, &NoProgress).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"));
    assert_eq!((page.matches("<li ").count(), page.contains("http://")), (40, false));
    config.out = Some(folder.path().join("sheet.pdf"));
    assert!(run(&config, &NoProgress).unwrap_err().to_string().contains(".csv or .html"));
    config.explanations.clear();
    assert!(run(&config, &NoProgress).unwrap_err().to_string().contains("one for each of 2 neurons"));
}
