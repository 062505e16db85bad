//! The command `nissl`: parses flags, calls a task, renders its report.
//!
//! stdout carries the data that was asked for, stderr everything else. Exit codes: 0 done, 1 the input was wrong,
//! 2 nissl was wrong, 130 stopped by Ctrl-C.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod args;
mod commands;
mod config;
mod door;
mod failure;
mod interrupt;
mod neuron;
mod progress;
mod size;
mod style;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::door::Door;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => return failure::usage(&err),
    };
    // A panic is an error of ours, and has an exit code of its own.
    match catch_unwind(AssertUnwindSafe(|| run(args))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(err)) => failure::report(&err),
        Err(_) => failure::bug(),
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    args.global.color.apply();
    let stop = interrupt::install()?;
    let door = Door::open(args.global, stop)?;
    commands::run(args.command, &door)
}
