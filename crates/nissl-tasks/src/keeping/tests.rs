use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::NoProgress;
use nissl_data::TextPrompt;
use nissl_methods::input_generation::InputGeneration;

use super::*;
use crate::tasks::{ablate, attribute, generate_input, mediate};

/// Counts steps, and stops after so many.
struct Stop {
    after: u64,
    steps: AtomicU64,
}

impl Stop {
    fn after(after: u64) -> Self {
        Self { after, steps: AtomicU64::new(0) }
    }

    fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}

impl Progress for Stop {
    fn stage(&self, _: &str, _: Option<u64>, _: &str) {}
    fn step(&self, _: u64) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.steps() >= self.after
    }
}

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string()
}

fn prompts() -> Vec<TextPrompt> {
    let prompt = |text: &str, other: &str, concept: &str| TextPrompt {
        text: text.to_owned(),
        target: "said".to_owned(),
        foil: Some("was".to_owned()),
        other: Some(other.to_owned()),
        concept: concept.to_owned(),
    };
    vec![
        prompt("She looked at him and", "The house of him and", "a"),
        prompt("He then", "It then", "b"),
        prompt("The man", "The day", "a"),
    ]
}

fn kept(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".kept")).count()
}

/// Stops a task after so many steps, goes on, and compares with a run that was not stopped.
fn goes_on<R: PartialEq + std::fmt::Debug>(after: u64, run: impl Fn(&Path, &dyn Progress) -> Result<R, TaskError>) {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let counted = Stop::after(u64::MAX);
    let expected = run(whole.path(), &counted).unwrap();
    let stopped = run(parts.path(), &Stop::after(after)).unwrap_err();
    assert!(stopped.to_string().contains("the same command goes on where it was"), "{stopped}");
    assert!(kept(parts.path()) > 0, "nothing was kept");
    let rest = Stop::after(u64::MAX);
    assert_eq!(run(parts.path(), &rest).unwrap(), expected);
    assert!(rest.steps() < counted.steps(), "{} of {} steps again", rest.steps(), counted.steps());
    assert_eq!((kept(whole.path()), kept(parts.path())), (0, 0), "files of a run that is done stay");
}

#[test]
fn attribution_goes_on_with_the_same_bits() {
    let cases = [
        ("ablation", 5),
        ("mediation", 4),
        ("conductance", 1),
        ("integrated-gradients", 6),
        ("knowledge-neurons", 6),
        ("diff-mask", 1),
        ("shapley", 5),
    ];
    for (method, after) in cases {
        goes_on(after, |folder, progress| {
            let mut set = serde_json::Map::new();
            match method {
                "conductance" | "diff-mask" => set.insert("steps".to_owned(), 3.into()),
                "shapley" => {
                    set.insert("permutations".to_owned(), 30.into());
                    set.insert("units".to_owned(), 3.into())
                }
                "mediation" => set.insert("min_prob".to_owned(), 0.0.into()),
                "knowledge-neurons" => set.insert("min_prompts".to_owned(), 1.into()),
                _ => None,
            };
            let methods = vec![method.to_owned()];
            let out = Some(folder.to_owned());
            // Room for one prompt at a time.
            let memory = 1 << 20;
            let config = attribute::Config {
                model: model(),
                prompts: prompts(),
                methods,
                set,
                out,
                memory,
                ..Default::default()
            };
            let report = attribute::run(&config, progress)?;
            // What is told at the end is of all prompts, those before the stop too.
            let told = report.methods[0].notes.clone();
            Ok((fs::read(folder.join(format!("{method}.parquet"))).unwrap(), told))
        });
    }
}

#[test]
fn ablation_mediation_and_input_generation_go_on_with_the_same_numbers() {
    goes_on(2, |folder, progress| {
        let out = Some(folder.join("ablate.json"));
        let layers = vec!["mlp_post".to_owned()];
        let config =
            ablate::Config { model: model(), prompts: prompts(), layers, random: 2, out, ..Default::default() };
        let report = ablate::run(&config, progress)?;
        Ok((report.whole, report.sets))
    });
    goes_on(2, |folder, progress| {
        let out = Some(folder.to_owned());
        let config = mediate::Config { model: model(), prompts: prompts(), random: 1, out, ..Default::default() };
        let report = mediate::run(&config, progress)?;
        Ok((report.singles, report.shares, report.layers))
    });
    goes_on(8, |folder, progress| {
        let how = InputGeneration { words: 2, steps: 5, every: 2, restarts: 1, draws: 1, ..InputGeneration::default() };
        let out = Some(folder.join("words.json"));
        let neurons = vec!["1.mlp_pre[3]".to_owned()];
        let config = generate_input::Config { model: model(), neurons, how, out, ..Default::default() };
        Ok(generate_input::run(&config, progress)?.neurons)
    });
}

#[test]
fn what_another_question_kept_and_what_is_broken_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = || Some(folder.path().join("report"));
    let stop = Stop::after(0);
    Keeping::new(&stop, prefix(), &"asked").keep("one", &|| vec![1, 2, 3]);
    let again = |asked: &str| Keeping::new(&NoProgress, prefix(), &asked).kept("one");
    assert_eq!(again("asked"), Some(vec![1, 2, 3]));
    assert_eq!(again("asked otherwise"), None);
    assert_eq!(Keeping::new(&NoProgress, prefix(), &"asked").kept("two"), None);
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&file).unwrap();
    for broken in [&bytes[..bytes.len() - 1], &bytes[..40], &[]] {
        fs::write(&file, broken).unwrap();
        assert_eq!(again("asked"), None);
    }
    fs::write(&file, &bytes).unwrap();
    let keeping = Keeping::new(&NoProgress, prefix(), &"asked");
    keeping.kept("one");
    keeping.finish();
    assert!(!file.exists());
    assert!(Keeping::new(&stop, None, &"asked").kept("one").is_none());
}
