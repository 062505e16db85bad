//! The one list of tasks. Doors derive their commands and routes from it; each task is one file.

use nissl_core::Progress;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::TaskError;

pub mod ablate;
pub mod attribute;
pub mod bench;
pub mod bench_methods;
pub mod check;
pub mod claim;
pub mod cluster;
pub mod compare;
pub mod convert;
pub mod demo;
pub mod embed;
pub mod evaluate;
pub mod explain;
pub mod extract;
pub mod factor;
pub mod generate;
pub mod generate_input;
pub mod inspect;
pub mod judge;
pub mod lens;
pub mod mediate;
pub mod methods;
pub mod models;
pub mod patch;
pub mod perplexity;
pub mod probe;
pub mod rank;
pub mod report;
pub mod sheet;
pub mod sites;
pub mod train;
pub mod view;

/// Every task, one line each.
pub const TASKS: &[TaskEntry] = &[
    TaskEntry { name: "demo", summary: demo::SUMMARY, run: |c, p| run_json("demo", c, p, demo::run) },
    TaskEntry { name: "models", summary: models::SUMMARY, run: |c, p| run_json("models", c, p, models::run) },
    TaskEntry { name: "sites", summary: sites::SUMMARY, run: |c, p| run_json("sites", c, p, sites::run) },
    TaskEntry { name: "extract", summary: extract::SUMMARY, run: |c, p| run_json("extract", c, p, extract::run) },
    TaskEntry { name: "rank", summary: rank::SUMMARY, run: |c, p| run_json("rank", c, p, rank::run) },
    TaskEntry {
        name: "attribute",
        summary: attribute::SUMMARY,
        run: |c, p| run_json("attribute", c, p, attribute::run),
    },
    TaskEntry { name: "ablate", summary: ablate::SUMMARY, run: |c, p| run_json("ablate", c, p, ablate::run) },
    TaskEntry { name: "patch", summary: patch::SUMMARY, run: |c, p| run_json("patch", c, p, patch::run) },
    TaskEntry { name: "mediate", summary: mediate::SUMMARY, run: |c, p| run_json("mediate", c, p, mediate::run) },
    TaskEntry { name: "cluster", summary: cluster::SUMMARY, run: |c, p| run_json("cluster", c, p, cluster::run) },
    TaskEntry { name: "factor", summary: factor::SUMMARY, run: |c, p| run_json("factor", c, p, factor::run) },
    TaskEntry { name: "compare", summary: compare::SUMMARY, run: |c, p| run_json("compare", c, p, compare::run) },
    TaskEntry { name: "evaluate", summary: evaluate::SUMMARY, run: |c, p| run_json("evaluate", c, p, evaluate::run) },
    TaskEntry { name: "probe", summary: probe::SUMMARY, run: |c, p| run_json("probe", c, p, probe::run) },
    TaskEntry { name: "report", summary: report::SUMMARY, run: |c, p| run_json("report", c, p, report::run) },
    TaskEntry { name: "inspect", summary: inspect::SUMMARY, run: |c, p| run_json("inspect", c, p, inspect::run) },
    TaskEntry { name: "explain", summary: explain::SUMMARY, run: |c, p| run_json("explain", c, p, explain::run) },
    TaskEntry { name: "claim", summary: claim::SUMMARY, run: |c, p| run_json("claim", c, p, claim::run) },
    TaskEntry { name: "judge", summary: judge::SUMMARY, run: |c, p| run_json("judge", c, p, judge::run) },
    TaskEntry { name: "sheet", summary: sheet::SUMMARY, run: |c, p| run_json("sheet", c, p, sheet::run) },
    TaskEntry { name: "view", summary: view::SUMMARY, run: |c, p| run_json("view", c, p, view::run) },
    TaskEntry { name: "lens", summary: lens::SUMMARY, run: |c, p| run_json("lens", c, p, lens::run) },
    TaskEntry { name: "generate", summary: generate::SUMMARY, run: |c, p| run_json("generate", c, p, generate::run) },
    TaskEntry {
        name: "generate-input",
        summary: generate_input::SUMMARY,
        run: |c, p| run_json("generate-input", c, p, generate_input::run),
    },
    TaskEntry {
        name: "perplexity",
        summary: perplexity::SUMMARY,
        run: |c, p| run_json("perplexity", c, p, perplexity::run),
    },
    TaskEntry { name: "embed", summary: embed::SUMMARY, run: |c, p| run_json("embed", c, p, embed::run) },
    TaskEntry { name: "methods", summary: methods::SUMMARY, run: |c, p| run_json("methods", c, p, methods::run) },
    TaskEntry { name: "check", summary: check::SUMMARY, run: |c, p| run_json("check", c, p, check::run) },
    TaskEntry { name: "bench", summary: bench::SUMMARY, run: |c, p| run_json("bench", c, p, bench::run) },
    TaskEntry {
        name: "bench-methods",
        summary: bench_methods::SUMMARY,
        run: |c, p| run_json("bench-methods", c, p, bench_methods::run),
    },
    TaskEntry { name: "convert", summary: convert::SUMMARY, run: |c, p| run_json("convert", c, p, convert::run) },
    TaskEntry { name: "train", summary: train::SUMMARY, run: |c, p| run_json("train", c, p, train::run) },
];

/// A line of the list: what a task is called, what it is for, and how it runs on plain JSON.
#[derive(Clone, Copy, Debug)]
pub struct TaskEntry {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// From a config as JSON to a report as JSON.
    pub run: fn(Value, &dyn Progress) -> Result<Value, TaskError>,
}

fn run_json<C: DeserializeOwned, R: Serialize>(
    task: &str,
    config: Value,
    progress: &dyn Progress,
    run: fn(&C, &dyn Progress) -> Result<R, TaskError>,
) -> Result<Value, TaskError> {
    let config = serde_json::from_value(config).map_err(|err| {
        TaskError::config(format!("config of {task}"), "the fields that the task has", err.to_string())
    })?;
    let report = run(&config, progress)?;
    Ok(serde_json::to_value(report).expect("reports are plain structs with text keys"))
}

#[cfg(test)]
mod tests {
    use nissl_core::NoProgress;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_task_refuses_an_unknown_field_by_name() {
        for task in TASKS {
            let err = (task.run)(json!({ "no_such_field": 1 }), &NoProgress).unwrap_err();
            assert!(err.to_string().contains("no_such_field"), "{}: {err}", task.name);
        }
    }

    #[test]
    fn reports_name_their_task_and_contain_their_config() {
        for task in TASKS.iter().filter(|task| ["models", "methods"].contains(&task.name)) {
            let report = (task.run)(json!({}), &NoProgress).unwrap();
            assert_eq!(report["task"], task.name);
            assert!(report["config"].is_object(), "{}", task.name);
            (task.run)(report["config"].clone(), &NoProgress).unwrap();
        }
    }
}
