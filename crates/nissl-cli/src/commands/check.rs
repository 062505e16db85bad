//! `nissl check MODEL`.

use std::io;
use std::path::PathBuf;

use anyhow::bail;
use nissl_tasks::tasks::check::{self, Check, Place, Report, SiteReport, TokenizerCheck};
use serde::Serialize;

use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Check a model against reference activations, site by site
///
/// A reference is a file of what a model computed: made with transformers by scripts/reference.py, or by nissl with
/// --write. Its tokens are run, every recorded value is compared, and the first site that is off is named. Exit code 1
/// if any is off by more than the tolerance: by default 1e-5 of the reference's largest value at a site and layer, and
/// 5e-5 of the largest logit; nothing at all for a reference that nissl wrote.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  python scripts/reference.py MODEL --text 'Some text.' --out reference.safetensors
  nissl check MODEL --reference reference.safetensors
  nissl check MODEL --write today.safetensors --text 'Some text.'")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The file to compare with
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
    /// Record the model's own activations into a file, as a reference for later
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<PathBuf>,
    /// A text to record, if there is no reference; may be given again
    #[arg(long = "text", value_name = "TEXT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
    /// The sites to record, as in `nissl extract` [default: all, with patterns and logits]
    #[arg(long, value_name = "SITES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// How far a site may be off, as a share of its largest value [default: 1e-5]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<f32>,
    /// How far logits may be off, as a share of the largest [default: 5e-5]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_tolerance: Option<f32>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = check::run(&door.config("check", args)?, door.progress())?;
    door.show(&report, text)?;
    match &report.check {
        Some(check) if !report.agrees => bail!("{}", verdict(check)),
        _ => Ok(()),
    }
}

/// What is wrong, in a sentence.
fn verdict(check: &Check) -> String {
    match (&check.first_off, &check.tokenizer) {
        (Some(name), _) => format!("the model is not the reference's: {name} is the first that is off"),
        (None, TokenizerCheck::Different { sentence, .. }) => {
            format!("the tokenizer is not the reference's: sentence {sentence} has other tokens")
        }
        (None, _) => "the model is not the reference's".to_owned(),
    }
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(
        page.out,
        "{}: {}, {} layers",
        style::head(&report.model.name),
        report.model.family,
        report.model.n_layers
    )?;
    if let Some(check) = &report.check {
        comparison(check, page)?;
    }
    if let Some(written) = &report.written {
        let (path, tensors) = (written.path.display(), thousands(written.tensors as u64));
        writeln!(page.out, "written: {path}, {tensors} tensors of {} tokens", thousands(written.tokens as u64))?;
    }
    Ok(())
}

fn comparison(check: &Check, page: &mut Page<'_>) -> io::Result<()> {
    let by = [&check.made_of, &check.made_by, &check.computed_in].map(String::as_str);
    let by: Vec<String> = by.into_iter().filter(|text| !text.is_empty()).map(plain).collect();
    writeln!(
        page.out,
        "reference: {}{}{} sentences, {} tokens",
        by.join(", "),
        if by.is_empty() { "" } else { ", " },
        thousands(check.sentences as u64),
        thousands(check.tokens as u64),
    )?;
    let tokens = match &check.tokenizer {
        TokenizerCheck::Same => "the same".to_owned(),
        TokenizerCheck::NotCompared { why } => format!("not compared, {why}"),
        TokenizerCheck::Different { sentence, token, expected, got } => {
            let name = |id: &Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
            format!(
                "{} at sentence {sentence}, token {token}: expected {}, got {}",
                style::head("other"),
                name(expected),
                name(got)
            )
        }
    };
    writeln!(page.out, "tokens: {tokens}\n")?;
    let mut table = Table::new(&[
        ("site", Align::Left),
        ("layers", Align::Right),
        ("largest difference", Align::Right),
        ("of the largest value", Align::Right),
        ("tolerance", Align::Right),
        ("", Align::Left),
        ("where", Align::Left),
    ]);
    for site in &check.sites {
        let Some(worst) = site.worst() else { continue };
        let verdict = match (site.agrees, site.parts.iter().all(|part| part.same_bits)) {
            (true, true) => "same bits",
            (true, false) => "ok",
            (false, _) => "OFF",
        };
        table.row([
            site.name.clone(),
            layers(site).to_string(),
            format!("{:.1e}", worst.absolute),
            format!("{:.1e}", worst.relative),
            format!("{:.0e}", site.tolerance),
            verdict.to_owned(),
            if worst.absolute > 0.0 { format!("{}: {}", worst.name, place(worst.at)) } else { String::new() },
        ]);
    }
    table.print(page.out, page.width)?;
    writeln!(page.out)?;
    for note in &check.notes {
        writeln!(page.out, "{}", plain(note))?;
    }
    match &check.first_off {
        None => writeln!(page.out, "every site agrees with the reference"),
        Some(name) => first_off(check, name, page),
    }
}

/// What is known of the first part that is off.
fn first_off(check: &Check, name: &str, page: &mut Page<'_>) -> io::Result<()> {
    let parts = check.sites.iter().flat_map(|site| site.parts.iter().map(move |part| (site, part)));
    let Some((site, part)) = parts.into_iter().find(|(_, part)| part.name == name) else { return Ok(()) };
    writeln!(page.out, "{} {name}", style::head("off from here on:"))?;
    writeln!(
        page.out,
        "  {} of {} units, most at {}",
        thousands(part.units_off as u64),
        thousands(part.units as u64),
        place(part.at)
    )?;
    let value = |value: Option<f32>| value.map_or("no finite number".to_owned(), |value| value.to_string());
    writeln!(page.out, "  expected {}, got {}", value(part.expected), value(part.got))?;
    match &site.weight {
        Some(weight) => writeln!(page.out, "  made by {weight}"),
        None => Ok(()),
    }
}

fn layers(site: &SiteReport) -> usize {
    // Patterns have an entry a sentence.
    let mut names: Vec<&str> =
        site.parts.iter().map(|part| part.name.split(".attn.hook_pattern").next().unwrap_or("")).collect();
    names.dedup();
    names.len()
}

fn place(place: Place) -> String {
    format!("sentence {}, token {}, unit {}", place.sentence, place.token, place.unit)
}

/// A text of a file without what would break the line or the terminal.
fn plain(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
