use std::path::Path;

use nissl_core::{Batch, HookPlan, NoProgress};

use super::*;

fn config() -> Config {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let how = InputGeneration { words: 3, steps: 20, every: 5, restarts: 2, draws: 2, ..Config::default().how };
    let model = assets.join("model").display().to_string();
    Config { model, neurons: vec!["1.mlp_pre[7]".to_owned()], how, ..Config::default() }
}

fn text(folder: &Path) -> PathBuf {
    let path = folder.join("text.txt");
    fs::write(&path, "She looked at him and said nothing.\n\nThe house was dark.\nHe ran.\n").unwrap();
    path
}

#[test]
fn what_is_told_of_a_text_is_what_the_model_does_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&Config { text: Some(text(folder.path())), ..config() }, &NoProgress).unwrap();
    let found = &report.neurons[0].found;
    assert_eq!(found.len(), 5, "the search is one of them");
    assert!(found.windows(2).all(|pair| pair[0].activation >= pair[1].activation));
    let search = found.iter().position(|text| text.optimizer == Optimizer::Search).unwrap();
    assert!(search > 0, "a climb beats three lines of text: {found:?}");
    let model = LanguageModel::load(&config().model, &NoProgress).unwrap();
    let neuron: nissl_core::NeuronId = "1.mlp_pre[7]".parse().unwrap();
    for text in found {
        let prefix = model.tokenizer().unwrap().special_prefix();
        let batch = Batch::from_sentences([[prefix, &text.ids].concat()]);
        let trace = model.run(&batch, &HookPlan::capture([neuron.point])).unwrap();
        let value = trace.sites[&neuron.point][[batch.n_tokens() - 1, 7]];
        assert!((text.activation - f64::from(value)).abs() < 1e-5, "{text:?}");
        assert!((text.ids.len(), text.tokens.len()) == (3, 3) && !text.text.is_empty());
    }
}

#[test]
fn several_neurons_and_groups_have_an_entry_each() {
    let neurons = vec!["0.mlp_post[1-3]".to_owned(), "2.resid_post[5] + 1.mlp_pre[4]".to_owned()];
    let how = InputGeneration { optimizers: vec![Optimizer::Softmax], ..config().how };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("found.json");
    let asked = Config { neurons, how, out: Some(out.clone()), ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    let sizes: Vec<_> = report.neurons.iter().map(|neuron| (neuron.neurons, neuron.found.len())).collect();
    assert_eq!(sizes, [(3, 1), (2, 1)]);
    let written: Report = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
    assert_eq!(written, report);
}

#[test]
fn what_is_missing_is_said() {
    let said = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    assert!(said(Config { model: String::new(), ..config() }).contains("model"));
    assert!(said(Config { neurons: Vec::new(), ..config() }).contains("neurons"));
    assert!(said(Config { neurons: vec!["9.mlp_pre[0]".to_owned()], ..config() }).contains("9.mlp_pre"));
    let how = InputGeneration { optimizers: vec![Optimizer::Search], ..config().how };
    assert!(said(Config { how, ..config() }).contains("corpus"));
    assert!(said(Config { text: Some("no-such-file".into()), ..config() }).contains("no-such-file"));
}
