//! `nissl sites MODEL`.

use std::io;

use nissl_tasks::tasks::sites::{self, Report};
use serde::Serialize;

use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// List a model's sites with their widths and the checkpoint's own weight names
#[derive(Debug, clap::Args, Serialize)]
#[command(
    after_help = "Example:\n  nissl sites sentence-transformers/all-MiniLM-L6-v2\n  nissl sites ./my-model --json"
)]
pub(crate) struct Args {
    /// Folder of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = sites::run(&door.config("sites", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let model = &report.model;
    writeln!(
        page.out,
        "{}: {}, {} layers x {}, {} heads, {} MLP neurons a layer, context {}, vocabulary {}",
        style::head(&model.name),
        model.family,
        model.n_layers,
        model.d_model,
        model.n_heads,
        thousands(model.d_mlp as u64),
        thousands(model.n_ctx as u64),
        thousands(model.d_vocab as u64),
    )?;
    writeln!(page.out)?;
    let mut table = Table::new(&[
        ("site", Align::Left),
        ("layers", Align::Right),
        ("width", Align::Right),
        ("groups", Align::Left),
        ("name", Align::Left),
        ("weight in the checkpoint", Align::Left),
    ]);
    for site in &report.sites {
        let layers = if site.layers == 0 { "-".to_owned() } else { site.layers.to_string() };
        let name = site.point.replace("blocks.0.", "blocks.{}.");
        let groups = site.groups.join(", ");
        table.row([site.name.clone(), layers, thousands(site.width as u64), groups, name, site.weight.clone()]);
    }
    table.print(page.out, page.width)
}
