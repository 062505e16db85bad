use std::path::Path;

use nissl_core::{Batch, EditSpec, HookPlan, NoProgress, Output};

use super::*;

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string()
}

fn prompt(text: &str, target: &str) -> TextPrompt {
    TextPrompt { text: text.to_owned(), target: target.to_owned(), ..TextPrompt::default() }
}

fn config(methods: &[&str], prompts: Vec<TextPrompt>) -> Config {
    let methods = methods.iter().map(|&name| name.to_owned()).collect();
    Config { model: demo(), methods, prompts, ..Config::default() }
}

fn set(pairs: &[(&str, Value)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn the_best_neuron_of_an_ablation_costs_what_its_score_says() {
    let prompts = vec![prompt("She looked at him and", "said")];
    let set = set(&[("layers", serde_json::json!([1]))]);
    let report = run(&Config { set, ..config(&["ablation"], prompts) }, &NoProgress).unwrap();
    let best = report.methods[0].concepts[0].top[0];
    assert_eq!((report.methods[0].neurons, report.prompts.used), (768, 1));

    let model = LanguageModel::load(&demo(), &NoProgress).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let tokens = tokenizer.encode_plain("She looked at him and").unwrap().ids;
    let said = tokenizer.encode_plain("and said").unwrap().ids[1] as usize;
    let log_probability = |edits| {
        let plan = HookPlan { edits, output: Output::Last, ..HookPlan::default() };
        let logits = model.run(&Batch::from_sentences([&tokens]), &plan).unwrap().logits.unwrap();
        let row = logits.row(0).mapv(f64::from);
        row[said] - row.mapv(f64::exp).sum().ln()
    };
    let edit: EditSpec =
        crate::edit_text::parse(&format!("{}[{}]=0", best.name.point, best.name.idx), model.info()).unwrap();
    let lost = log_probability(Vec::new()) - log_probability(vec![edit]);
    let got = f64::from(best.score) * f64::from(best.sign.unwrap());
    assert!((got - lost).abs() < 1e-5, "{got} and {lost}");
}

#[test]
fn integrated_gradients_of_a_real_model_are_complete_the_more_so_the_finer_the_path() {
    let prompts = vec![prompt("She looked at him and", "said"), prompt("There was no possibility of taking a", "walk")];
    let folder = tempfile::tempdir().unwrap();
    let out = Some(folder.path().to_owned());
    let config = Config { out, ..config(&["integrated-gradients", "gradient-activation"], prompts) };
    let report = run(&config, &NoProgress).unwrap();
    let within = |report: &Report| {
        let note = &report.methods[0].notes[0];
        let share = note.split("within ").nth(1).and_then(|rest| rest.split('%').next()).unwrap();
        share.parse::<f64>().unwrap()
    };
    assert!(within(&report) <= 1.0, "{:?}", report.methods[0].notes);
    let fine = Config { set: set(&[("steps", 80.into())]), out: None, ..config.clone() };
    let fine = Config { methods: fine.methods[..1].to_vec(), ..fine };
    assert!(within(&run(&fine, &NoProgress).unwrap()) < 0.2, "{:?}", report.methods[0].notes);
    assert!(report.methods.iter().all(|method| method.file.as_ref().unwrap().is_file()));
    let again: Report = serde_json::from_slice(&std::fs::read(folder.path().join(REPORT)).unwrap()).unwrap();
    assert_eq!(again, report);
    assert_eq!(run(&again.head.config, &NoProgress).unwrap(), report, "a report's config repeats it");
}

#[test]
fn prompts_that_the_model_cannot_take_are_left_out_by_reason() {
    let prompts = vec![
        prompt("She looked at him and", "said"),
        prompt("[MASK] was born in Ulm.", "She"),
        prompt("It was", "incomprehensibilities"),
        TextPrompt { foil: Some("transubstantiated".to_owned()), ..prompt("It was", "a") },
        TextPrompt { other: Some("He".to_owned()), ..prompt("She looked at him and", "said") },
    ];
    let report = run(&config(&["gradient-activation"], prompts.clone()), &NoProgress).unwrap();
    let reasons: Vec<&str> = report.prompts.left_out.iter().map(|out| out.why.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "words stand behind the target, which a decoder does not see",
            "the target is not one token",
            "the foil is not one token",
            "the other text has another number of tokens",
        ]
    );
    assert_eq!((report.prompts.used, report.prompts.left_out[0].first.as_str()), (1, "[MASK] was born in Ulm. She"));
    let err = run(&config(&["gradient-activation"], prompts[1..].to_vec()), &NoProgress).unwrap_err().to_string();
    assert!(err.contains("none: words stand behind the target"), "{err}");
}

#[test]
fn what_cannot_be_run_is_said_before_the_model_is_loaded() {
    let missing =
        |config: Config| run(&Config { model: "nowhere".to_owned(), ..config }, &NoProgress).unwrap_err().to_string();
    let prompts = || vec![prompt("It was", "a")];
    assert!(missing(config(&["probeless"], prompts())).contains("a method that runs the model (ablation"));
    assert!(missing(config(&["ablation"], Vec::new())).starts_with("prompts: expected a prompt"));
    let steps = Config { set: set(&[("stepz", 3.into())]), ..config(&["integrated-gradients"], prompts()) };
    assert!(missing(steps).contains("did you mean steps?"));
    let failing = config(&["mediation", "gradient-activation"], prompts());
    let report = run(&failing, &NoProgress).unwrap();
    assert_eq!((report.failed[0].name.as_str(), report.methods.len()), ("mediation", 1));
    assert!(report.failed[0].error.contains("foil"), "{}", report.failed[0].error);
}
