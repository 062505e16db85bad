//! What every command needs from the command line: its config, progress, and a place for the answer.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use nissl_core::Progress;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::args::Global;
use crate::config;
use crate::progress::{Meter, Show};

/// One run of the command line.
pub(crate) struct Door {
    json: bool,
    config: Option<PathBuf>,
    memory: Option<u64>,
    meter: Meter,
}

impl Door {
    /// Reads the global flags: threads, logs, progress.
    pub(crate) fn open(global: Global, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        if let Some(threads) = global.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global().context("cannot start the threads")?;
        }
        logs(global.verbose);
        let show = match (global.quiet, io::stderr().is_terminal() && global.verbose == 0) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Bar,
            (false, false) => Show::Lines,
        };
        Ok(Self { json: global.json, config: global.config, memory: global.memory, meter: Meter::new(show, stop) })
    }

    /// The config of a task: the file given by `--config`, then the flags.
    pub(crate) fn config<C: DeserializeOwned>(&self, task: &str, flags: &impl Serialize) -> anyhow::Result<C> {
        let base = self.config.as_deref().map_or_else(|| Ok(Map::new()), |path| config::read(path, task))?;
        config::overlay(base, flags)
    }

    /// As [`Door::config`], for a task that takes a memory budget.
    pub(crate) fn config_with_memory<C: DeserializeOwned>(
        &self,
        task: &str,
        flags: &impl Serialize,
    ) -> anyhow::Result<C> {
        let mut flags = serde_json::to_value(flags)?;
        if let (Some(memory), Value::Object(fields)) = (self.memory, &mut flags) {
            fields.insert("memory".to_owned(), memory.into());
        }
        self.config(task, &flags)
    }

    /// Where a task tells how far it is.
    pub(crate) fn progress(&self) -> &dyn Progress {
        &self.meter
    }

    /// Whether reports are printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report: as JSON if asked for, else as `text` says.
    pub(crate) fn show<R: Serialize>(
        &self,
        report: &R,
        text: impl FnOnce(&R, &mut Page<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        self.meter.finish();
        let mut out = anstream::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            text(report, &mut Page { out: &mut out, width: width() })?;
        }
        out.flush()?;
        Ok(())
    }
}

/// A place to print to.
pub(crate) struct Page<'a> {
    /// The stream.
    pub(crate) out: &'a mut dyn Write,
    /// Characters a line, if that is known.
    pub(crate) width: Option<usize>,
}

/// Width of the terminal that stdout is; `None` when it is none, so that nothing is cut in a file.
fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0 as usize)
}

fn logs(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let format = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).without_time();
    format.with_ansi(io::stderr().is_terminal()).with_target(false).init();
}
