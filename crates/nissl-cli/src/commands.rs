//! The commands, one file each: flags, the call of the task, its report as text.

pub(crate) mod ablate;
mod ask;
pub(crate) mod attribute;
pub(crate) mod bench;
pub(crate) mod bench_methods;
pub(crate) mod check;
pub(crate) mod claim;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod embed;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod extract;
pub(crate) mod factor;
pub(crate) mod generate;
pub(crate) mod generate_input;
pub(crate) mod inspect;
pub(crate) mod judge;
pub(crate) mod lens;
pub(crate) mod mediate;
pub(crate) mod methods;
pub(crate) mod models;
pub(crate) mod patch;
pub(crate) mod perplexity;
pub(crate) mod probe;
pub(crate) mod rank;
mod read;
pub(crate) mod report;
pub(crate) mod sheet;
pub(crate) mod sites;
pub(crate) mod train;
pub(crate) mod view;

use crate::args::Command;
use crate::door::Door;

/// Runs the command that was asked for.
pub(crate) fn run(command: Command, door: &Door) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, door),
        Command::Models(args) => models::run(&args, door),
        Command::Sites(args) => sites::run(&args, door),
        Command::Extract(args) => extract::run(&args, door),
        Command::Rank(args) => rank::run(&args, door),
        Command::Attribute(args) => attribute::run(&args, door),
        Command::Ablate(args) => ablate::run(&args, door),
        Command::Patch(args) => patch::run(&args, door),
        Command::Mediate(args) => mediate::run(&args, door),
        Command::Cluster(args) => cluster::run(&args, door),
        Command::Factor(args) => factor::run(&args, door),
        Command::Compare(args) => compare::run(&args, door),
        Command::Evaluate(args) => evaluate::run(&args, door),
        Command::Probe(args) => probe::run(&args, door),
        Command::Report(args) => report::run(&args, door),
        Command::Inspect(args) => inspect::run(&args, door),
        Command::Explain(args) => explain::run(&args, door),
        Command::Claim(args) => claim::run(&args, door),
        Command::Judge(args) => judge::run(&args, door),
        Command::Sheet(args) => sheet::run(&args, door),
        Command::View(args) => view::run(&args, door),
        Command::Lens(args) => lens::run(&args, door),
        Command::Generate(args) => generate::run(&args, door),
        Command::GenerateInput(args) => generate_input::run(&args, door),
        Command::Perplexity(args) => perplexity::run(&args, door),
        Command::Embed(args) => embed::run(&args, door),
        Command::Methods(args) => methods::run(&args, door),
        Command::Check(args) => check::run(&args, door),
        Command::Bench(bench::Args { what: bench::What::Truth(args) }) => bench::run(&args, door),
        Command::Bench(bench::Args { what: bench::What::Methods(args) }) => bench_methods::run(&args, door),
        Command::Convert(args) => convert::run(&args, door),
        Command::Train(args) => train::run(&args, door),
        Command::Completions(args) => completions::run(&args),
    }
}
