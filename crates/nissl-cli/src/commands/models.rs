//! `nissl models [FAMILY]`.

use std::io;

use nissl_tasks::tasks::models::{self, FamilyReport, FieldKind, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// List the model families that can be loaded, or what one of them is like
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "Examples:\n  nissl models\n  nissl models llama\n  nissl models --json")]
pub(crate) struct Args {
    /// A family, or a `model_type`: its sites, formats and the fields of config.json that it knows
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = models::run(&door.config("models", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if report.head.config.family.is_some() {
        report.families.iter().try_for_each(|family| one(family, page))?;
    } else {
        let heads = ["family", "also", "layers", "head"].map(|head| (head, Align::Left));
        let mut table = Table::new(&heads);
        for family in &report.families {
            let others = family.model_types.iter().filter(|name| **name != family.name);
            let also = others.cloned().collect::<Vec<_>>().join(", ");
            table.row([family.name.clone(), also, family.components.join(", "), family.head.clone()]);
        }
        table.print(page.out, page.width)?;
        writeln!(page.out)?;
        formats(&report.families, page)?;
    }
    writeln!(
        page.out,
        "tested: sites within {:e} of their largest value from a reference in 64-bit floats, logits within {:e}",
        report.site_tolerance, report.logits_tolerance
    )
}

/// Which formats are read, and for which families those that are not read for all.
fn formats(families: &[FamilyReport], page: &mut Page<'_>) -> io::Result<()> {
    let mut names: Vec<&String> = families.iter().flat_map(|family| &family.formats).collect();
    names.sort();
    names.dedup();
    let told = names.into_iter().map(|name| {
        let having: Vec<&str> =
            families.iter().filter(|family| family.formats.contains(name)).map(|family| family.name.as_str()).collect();
        if having.len() == families.len() { name.clone() } else { format!("{name} ({})", having.join(", ")) }
    });
    writeln!(page.out, "weights: {}", told.collect::<Vec<_>>().join(", "))
}

fn one(family: &FamilyReport, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(page.out, "{}: {}", style::head(&family.name), family.summary)?;
    let known: Vec<String> =
        family.fields.iter().filter(|field| field.what == FieldKind::Read).map(|f| f.name.clone()).collect();
    let only = |field: &models::FieldReport| Some(format!("{} = {}", field.name, field.only.as_ref()?));
    let passed =
        family.fields.iter().filter(|field| field.what == FieldKind::PassedOver).map(|field| field.name.clone());
    for (what, values) in [
        ("model types", family.model_types.clone()),
        ("layers", family.components.clone()),
        ("head", vec![family.head.clone()]),
        ("weights", family.formats.clone()),
        ("config", known),
        ("nothing but", family.fields.iter().filter_map(only).collect()),
        ("passed over", passed.collect()),
    ] {
        list(what, &values, page)?;
    }
    writeln!(page.out)?;
    let mut table = Table::new(&[("site", Align::Left), ("name", Align::Left)]);
    for site in &family.sites {
        table.row([site.name.clone(), site.point.replacen(".0.", ".{}.", 1)]);
    }
    table.print(page.out, page.width)?;
    writeln!(page.out)
}

/// A name and a list behind it, in lines of the terminal's width.
fn list(what: &str, values: &[String], page: &mut Page<'_>) -> io::Result<()> {
    let width = page.width.unwrap_or(100);
    let mut line = format!("  {what:<12}");
    for (idx, value) in values.iter().enumerate() {
        let comma = if idx + 1 < values.len() { "," } else { "" };
        if line.trim().len() > what.len() && line.len() + value.len() + 2 > width {
            writeln!(page.out, "{}", line.trim_end())?;
            line = " ".repeat(14);
        }
        line.extend([" ", value, comma]);
    }
    if values.is_empty() { Ok(()) } else { writeln!(page.out, "{line}") }
}
