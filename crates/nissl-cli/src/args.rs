//! Flags that every command takes, and the list of commands.

use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};

use crate::commands;
use crate::size;
use crate::style::Color;

/// Look into a language model neuron by neuron: record what each does on a text, find which carry which concept.
#[derive(Debug, Parser)]
#[command(
    name = "nissl",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  nissl demo --out nissl-demo                everything once, on a small model that is built in
  nissl extract MODEL text.conllu --out s    record what every neuron does on a text
  nissl rank s --by upos --out rankings      find the neurons that carry each part of speech
  nissl inspect s '3.mlp_post[1207]'         look at one of them

Exit codes: 0 done, 1 wrong input, 2 an error of nissl, 130 stopped by Ctrl-C."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print the report as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Take the config from a file: a saved report or a config; flags win over it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Threads to use [default: all cores]; the numbers do not depend on it
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Memory for activations, such as 512MB [default: 512MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) memory: Option<u64>,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log more to stderr; twice or three times for still more
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use color: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) color: Color,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(commands::demo::Args),
    Models(commands::models::Args),
    Sites(commands::sites::Args),
    Extract(commands::extract::Args),
    Rank(commands::rank::Args),
    Attribute(commands::attribute::Args),
    Ablate(commands::ablate::Args),
    Patch(commands::patch::Args),
    Mediate(commands::mediate::Args),
    Cluster(commands::cluster::Args),
    Factor(commands::factor::Args),
    Compare(commands::compare::Args),
    Evaluate(commands::evaluate::Args),
    Probe(commands::probe::Args),
    Report(commands::report::Args),
    Inspect(commands::inspect::Args),
    Explain(commands::explain::Args),
    Claim(commands::claim::Args),
    Judge(commands::judge::Args),
    Sheet(commands::sheet::Args),
    View(commands::view::Args),
    Lens(commands::lens::Args),
    Generate(commands::generate::Args),
    GenerateInput(commands::generate_input::Args),
    Perplexity(commands::perplexity::Args),
    Embed(commands::embed::Args),
    Methods(commands::methods::Args),
    Check(commands::check::Args),
    Bench(commands::bench::Args),
    Convert(commands::convert::Args),
    Train(commands::train::Args),
    Completions(commands::completions::Args),
}
