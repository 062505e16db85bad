//! `nissl models`.

use std::io;

use nissl_tasks::tasks::models::{self, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::table::{Align, Table};

/// List the model families that can be loaded
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "Example:\n  nissl models")]
pub(crate) struct Args {}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = models::run(&door.config("models", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let mut table = Table::new(&[("family", Align::Left), ("model types", Align::Left), ("summary", Align::Left)]);
    for family in &report.families {
        table.row([family.name.clone(), family.model_types.join(", "), family.summary.clone()]);
    }
    table.print(page.out, page.width)
}
