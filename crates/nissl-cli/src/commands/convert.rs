//! `nissl convert FROM TO`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::convert::{self, Report};
use serde::Serialize;

use crate::commands::read::{Dtype, Read};
use crate::door::{Door, Page};
use crate::progress::thousands;

/// Convert between a store and NeuroX's HDF5 and JSON files
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl convert activations.hdf5 my.store --text corpus.word
  nissl convert minilm.store minilm.hdf5 --label-column upos")]
pub(crate) struct Args {
    /// A store, or a NeuroX file (.hdf5, .h5, .json, .jsonl)
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<PathBuf>,
    /// The other: a NeuroX file, or the folder of a new store
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<PathBuf>,
    /// To a store: the text with its words and labels [default: what the file knows of it]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<PathBuf>,
    /// To a store: how values are kept [default: f32]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<Dtype>,
    /// To NeuroX: the sites that become layers [default: resid]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// To NeuroX: a file a layer
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    decompose: bool,
    /// To NeuroX: the label column that is written beside the words
    #[arg(long = "label-column", value_name = "COLUMN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    #[command(flatten)]
    read: Read,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = convert::run(&door.config_with_memory("convert", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let store = &report.store;
    writeln!(
        page.out,
        "{} rows x {} neurons of {} sentences",
        thousands(store.rows),
        thousands(store.neurons as u64),
        thousands(store.sentences)
    )?;
    report.written.iter().try_for_each(|written| writeln!(page.out, "wrote {}", written.name.display()))
}
