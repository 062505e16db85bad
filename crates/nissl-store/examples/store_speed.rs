//! How fast a store is written and read, and how much memory that takes.
//!
//! `cargo run --release -p nissl-store --example store_speed -- FOLDER [ROWS]` writes FOLDER/speed.nissl with three sites
//! of 1,536 neurons in float16, reads it warm and cold (Linux: `dd` drops files from the page cache) and removes it.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use ndarray::{Array2, ShapeBuilder};
use nissl_core::{Activations, HookPoint, NoProgress, Site};
use nissl_store::{Dtype, Row, Run, SentenceRows, SiteWidth, Store, Values, WriteOptions, Writer};

const WIDTH: usize = 1536;
const N_SITES: usize = 3;
const ROWS_PER_BLOCK: usize = 500;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(folder), n_rows) = (args.next(), args.next().map_or(Ok(200_000), |rows| rows.parse())) else {
        println!("usage: store_speed FOLDER [ROWS]");
        return ExitCode::FAILURE;
    };
    let path = PathBuf::from(folder).join("speed.nissl");
    let result = n_rows.map_err(|_| "ROWS is not a number".to_owned()).and_then(|n_rows| {
        let measured = write(&path, n_rows).and_then(|store| read(&store));
        measured.map_err(|error| error.to_string())
    });
    let _ = std::fs::remove_dir_all(&path);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(path: &Path, n_rows: usize) -> Result<Store, Box<dyn Error>> {
    let site = |layer| SiteWidth { point: HookPoint::new(layer, Site::MlpPost), width: WIDTH as u32 };
    let sites = (0..N_SITES as u16).map(site).collect();
    let run = Run { dtype: Dtype::Float16, sites, ..Run::default() };
    let options = WriteOptions { memory_budget: 512 << 20, ..WriteOptions::default() };
    // Bits of float16 between -2 and 2, all different enough.
    let bits = |i: usize| ((i * 2_654_435_761) >> 7) as u16 & 0xbfff;
    let values: Vec<u16> = (0..ROWS_PER_BLOCK * WIDTH).map(bits).collect();
    let sentence = |idx: usize| {
        let text = format!("a sentence of ten words that is the {idx}th one");
        let word = |position: usize| {
            let labels = Vec::new();
            Row { position: position as u32, word: format!("w{}", (idx + position) % 9000), labels, ..Row::default() }
        };
        SentenceRows { text, rows: (0..10).map(word).collect(), ..SentenceRows::default() }
    };
    let start = Instant::now();
    let mut writer = Writer::create(path, run, &options)?;
    for first in (0..n_rows).step_by(ROWS_PER_BLOCK) {
        let n = ROWS_PER_BLOCK.min(n_rows - first) / 10;
        let sentences: Vec<_> = (first / 10..first / 10 + n).map(sentence).collect();
        writer.append(&sentences, &[Values::Bits16(&values[..n * 10 * WIDTH]); N_SITES])?;
    }
    let store = writer.finish()?;
    let seconds = start.elapsed().as_secs_f64();
    let mb = (n_rows * WIDTH * N_SITES * 2) as f64 / 1e6;
    println!("written: {mb:.0} MB in {seconds:.2} s, {:.0} MB/s, with fsync; {}", mb / seconds, memory());
    Ok(store)
}

fn read(store: &Store) -> Result<(), Box<dyn Error>> {
    let point = HookPoint::new(1, Site::MlpPost);
    let n_rows = store.n_rows();
    for cold in [false, true] {
        let state = if cold { "cold" } else { "warm" };
        let mut column = Array2::zeros((n_rows, 1).f());
        let times = measure(store, cold, 9, |i| {
            let column_idx = i * 160 + 7;
            let x = store.select(&[point])?;
            Ok(x.read(0..n_rows, column_idx..column_idx + 1, column.view_mut())?)
        })?;
        println!("{state}: a neuron over {n_rows} rows in {times} ms, opening included");
        let mut block = Array2::zeros((1024.min(n_rows), WIDTH).f());
        let n_block = block.nrows();
        let times = measure(store, cold, 9, |i| {
            let first = (i * 17 % 100) * (n_rows - n_block) / 100;
            Ok(store.select(&[point])?.read(first..first + n_block, 0..WIDTH, block.view_mut())?)
        })?;
        println!("{state}: {n_block} rows over a site of {WIDTH} in {times} ms");
    }
    let start = Instant::now();
    let verified = store.verify(&NoProgress)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("verified: {:.0} MB/s; {}", verified.n_bytes as f64 / 1e6 / seconds, memory());
    Ok(())
}

/// Least, median and most milliseconds of `n` calls.
fn measure(
    store: &Store,
    cold: bool,
    n: usize,
    mut call: impl FnMut(usize) -> Result<(), Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    let mut times = Vec::new();
    for i in 0..n {
        if cold {
            drop_from_cache(store.path());
        }
        let start = Instant::now();
        call(i)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(format!("{:.1} / {:.1} / {:.1}", times[0], times[n / 2], times[n - 1]))
}

fn drop_from_cache(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            drop_from_cache(&path);
        } else {
            let input = format!("if={}", path.display());
            let _ = Command::new("dd").args([input.as_str(), "iflag=nocache", "count=0", "status=none"]).status();
        }
    }
}

/// The most memory this process has held.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map_or_else(|| "memory unknown".to_owned(), |line| format!("peak memory {}", line[6..].trim()))
}
