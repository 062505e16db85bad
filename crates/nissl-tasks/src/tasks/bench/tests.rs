use nissl_core::NoProgress;

use super::*;

/// Two methods on few neurons.
fn small() -> Config {
    Config {
        levels: vec![Level::Planted],
        methods: vec!["probeless".to_owned(), "average-precision".to_owned(), "gaussian-probe".to_owned()],
        set: Map::from_iter([("average-precision.signed".to_owned(), true.into()), ("steps".to_owned(), 10.into())]),
        axes: vec!["signal".to_owned()],
        base: Some(Difficulty { rows: 400, neurons: 80, concepts: 2, share: 0.15, ..Difficulty::default() }),
        seeds: Some(2),
        quick: true,
        ..Config::default()
    }
}

#[test]
fn more_signal_is_found_better_and_none_as_by_chance() {
    let base = Difficulty { rows: 600, neurons: 100, concepts: 2, share: 0.15, ..Difficulty::default() };
    let report = run(&Config { base: Some(base), ..small() }, &NoProgress).unwrap();
    assert_eq!(report.methods, ["probeless", "average-precision", "gaussian-probe"]);
    for method in 0..3 {
        let of: Vec<f64> = report.axes[0].points.iter().map(|point| point.precision[method].unwrap().value).collect();
        assert!(of[0] < of[2] && of[2] > 0.4, "{}: {of:?}", report.methods[method]);
    }
    // The signed average precision has all of them at four deviations.
    assert!(report.axes[0].points[2].precision[1].unwrap().value > 0.95);
}

#[test]
fn a_run_is_the_same_on_one_thread_and_on_four() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&small(), &NoProgress).unwrap())
    };
    assert_eq!(on(1), on(4));
}

#[test]
fn the_pages_are_written_and_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = Some(folder.path().to_owned());
    let report = run(&Config { out, ..small() }, &NoProgress).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&read("truth.json")).unwrap(), report);
    let (page, markdown) = (read("truth.html"), read("truth.md"));
    assert!(page.contains("default-src 'none'") && !page.contains("src=") && page.contains("gaussian-probe"));
    assert!(markdown.contains("| probeless |") && markdown.contains("truth.svg"));
    assert!(markdown.contains("`nissl bench truth --level planted --quick --seeds 2`"), "{markdown}");
    assert!(read("truth.svg").starts_with("<svg"));
}

#[test]
fn methods_that_fail_are_told_and_do_not_stop_the_others() {
    // Of 14 rows of a concept none are left for a class of 50.
    let set = Map::from_iter([("probeless.min_count".to_owned(), json!(1000))]);
    let config = Config { set, methods: vec!["probeless".to_owned(), "mean-select".to_owned()], ..small() };
    let report = run(&config, &NoProgress).unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].name, "probeless");
    assert!(report.axes[0].points.iter().all(|point| point.precision[0].is_none() && point.precision[1].is_some()));
}

#[test]
fn unknown_kinds_of_difficulty_are_refused_with_the_nearest() {
    let error = run(&Config { axes: vec!["signals".to_owned()], ..small() }, &NoProgress).unwrap_err().to_string();
    assert!(error.contains("did you mean signal?"), "{error}");
}

/// Compiled models and methods that take no time.
fn causal() -> Config {
    let methods = ["average-precision", "probeless", "ablation", "gradient-activation", "integrated-gradients"];
    Config {
        levels: vec![Level::Causal],
        methods: methods.map(str::to_owned).to_vec(),
        seeds: Some(2),
        ..Config::default()
    }
}

#[test]
fn neurons_that_act_come_before_copies_where_the_model_is_run_and_only_there() {
    let report = run(&causal(), &NoProgress).unwrap();
    assert!(report.methods.is_empty() && report.axes.is_empty() && report.kinds.is_empty());
    let causal = report.causal.unwrap();
    assert!(causal.failed.is_empty(), "{:?}", causal.failed);
    let method = |name: &str| causal.methods.iter().find(|method| method.name == name).unwrap();
    for name in ["average-precision", "probeless"] {
        assert!(!method(name).runs_model && method(name).before.unwrap().value <= 0.5, "{:?}", method(name));
        assert!(method(name).copies.unwrap().value > 0.3, "{:?}", method(name));
    }
    for name in ["ablation", "gradient-activation", "integrated-gradients"] {
        let method = method(name);
        assert!(method.runs_model && method.before.unwrap().value > 0.75, "{method:?}");
        assert!(method.copies.unwrap().value < 0.05, "{method:?}");
        // A single neuron is found, and so are two halves.
        assert!(method.precision[..2].iter().all(|precision| precision.unwrap().value > 0.95), "{method:?}");
    }
    // Taken away alone, neither of two neurons does anything that the other cannot do.
    let backup = |name: &str| method(name).precision[2].unwrap().value;
    let (alone, shared) = (backup("ablation"), backup("integrated-gradients"));
    assert!(alone < shared, "{alone} {shared}");
}

#[test]
fn the_pages_of_compiled_models_alone_tell_nothing_of_planted_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { methods: vec!["probeless".to_owned()], out: Some(folder.path().to_owned()), ..causal() };
    run(&config, &NoProgress).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (page, markdown) = (read("truth.html"), read("truth.md"));
    assert!(markdown.contains("`nissl bench truth --level causal --seeds 2`"), "{markdown}");
    assert!(markdown.contains("| probeless (reads activations) |"), "{markdown}");
    assert!(!markdown.contains("truth.svg") && !folder.path().join("truth.svg").exists());
    assert!(!markdown.contains("distributed") && !page.contains("<svg") && page.contains("probeless"));
}

#[test]
fn compiled_models_are_the_same_on_one_thread_and_on_four() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&causal(), &NoProgress).unwrap())
    };
    assert_eq!(on(1), on(4));
}

#[test]
fn methods_and_parameters_that_no_level_takes_are_refused() {
    let refused = |config: Config| run(&config, &NoProgress).unwrap_err().to_string();
    let ablation = vec!["ablation".to_owned()];
    let planted = refused(Config { methods: ablation.clone(), ..small() });
    assert!(planted.contains("ranks neurons by recorded activations"), "{planted}");
    let profiler = refused(Config { methods: vec!["top-words".to_owned()], ..causal() });
    assert!(profiler.contains("top-words, which does not"), "{profiler}");
    let set = Map::from_iter([("stepz".to_owned(), json!(3))]);
    assert!(refused(Config { set, ..causal() }).contains("set: expected a parameter of a chosen method, got stepz"));
}
