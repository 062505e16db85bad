//! `nissl demo`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::demo::{self, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Run everything once on a small model that is built in, and leave a report
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "Example:\n  nissl demo --out nissl-demo")]
pub(crate) struct Args {
    /// Folder for model, text, store, rankings and the report [default: nissl-demo]
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = demo::run(&door.config_with_memory("demo", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let store = &report.store;
    writeln!(
        page.out,
        "{} neurons on {} words: the best neuron of each concept, by average precision\n",
        thousands(store.neurons as u64),
        thousands(store.rows),
    )?;
    let mut table = Table::new(&[
        ("concept", Align::Left),
        ("words", Align::Right),
        ("neuron", Align::Left),
        ("score", Align::Right),
        ("it fires most on", Align::Left),
    ]);
    for finding in &report.findings {
        table.row([
            finding.name.clone(),
            thousands(finding.rows as u64),
            neuron::short(finding.neuron),
            neuron::score(finding.score),
            finding.words.join(", "),
        ]);
    }
    table.print(page.out, page.width)?;
    if let Some(command) = report.commands.iter().find(|command| command.line.starts_with("nissl inspect")) {
        writeln!(page.out, "\n{}:\n  {}", command.name.to_lowercase(), command.line)?;
    }
    writeln!(page.out, "\n{} {}", style::head("open in a browser:"), report.page.display())
}
