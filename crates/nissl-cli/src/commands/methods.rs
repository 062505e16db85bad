//! `nissl methods [NAME]`.

use std::io;

use nissl_tasks::tasks::methods::{self, MethodReport, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// List the methods, or explain one
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "Example:\n  nissl methods\n  nissl methods probeless")]
pub(crate) struct Args {
    /// Explain this one: its parameters, its source
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = methods::run(&door.config("methods", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if report.head.config.method.is_some()
        && let [method] = report.methods.as_slice()
    {
        return explain(method, page);
    }
    let mut table = Table::new(&[("method", Align::Left), ("kind", Align::Left), ("summary", Align::Left)]);
    for method in &report.methods {
        table.row([&method.name, &method.kind, &method.summary].map(Clone::clone));
    }
    table.print(page.out, page.width)
}

fn explain(method: &MethodReport, page: &mut Page<'_>) -> io::Result<()> {
    let card = &method.card;
    writeln!(page.out, "{} ({})", style::head(&method.name), method.kind)?;
    writeln!(page.out, "{}", method.summary)?;
    writeln!(page.out, "source: {}", method.source)?;
    let yes = |flag, word: &'static str| if flag { word } else { "" };
    let traits = [
        yes(card.supervision, "needs labels"),
        yes(card.causal, "intervenes in the model"),
        yes(card.human_in_the_loop, "needs a person to read the result"),
    ];
    let traits: Vec<&str> = traits.into_iter().filter(|text| !text.is_empty()).collect();
    writeln!(
        page.out,
        "card: {}, from {} to {}, scales {}{}{}",
        card.family,
        card.input,
        card.output,
        card.scalability,
        if traits.is_empty() { "" } else { ", " },
        traits.join(", ")
    )?;
    writeln!(page.out)?;
    let mut table = Table::new(&[("parameter", Align::Left), ("default", Align::Left), ("meaning", Align::Left)]);
    for parameter in &method.parameters {
        let default = parameter.default.to_string();
        table.row([parameter.name.clone(), default, parameter.description.clone()]);
    }
    table.print(page.out, page.width)
}
