//! Errors on the terminal: `error: ...`, its causes, a hint; and the exit code.

use std::process::ExitCode;

use nissl_tasks::{ErrorKind, TaskError};

use crate::interrupt;

const INPUT: u8 = 1;
const INTERNAL: u8 = 2;

/// Wrong flags, or `--help` and `--version`, which are none.
pub(crate) fn usage(err: &clap::Error) -> ExitCode {
    // Nothing can be told if even this cannot be printed.
    let _ = err.print();
    if err.use_stderr() { ExitCode::from(INPUT) } else { ExitCode::SUCCESS }
}

/// Prints the error with its causes and chooses the exit code.
pub(crate) fn report(err: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(err) {
        // Whoever reads our output has seen enough, as with `| head`.
        return ExitCode::SUCCESS;
    }
    let kind = err.chain().find_map(|cause| cause.downcast_ref::<TaskError>()).map(TaskError::kind);
    if kind == Some(ErrorKind::Cancelled) {
        anstream::eprintln!("{err}");
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    anstream::eprint!("{}", render(err));
    match kind {
        Some(ErrorKind::Internal) => ExitCode::from(INTERNAL),
        _ => ExitCode::from(INPUT),
    }
}

/// After a panic, whose message has been printed.
pub(crate) fn bug() -> ExitCode {
    anstream::eprintln!("\x1b[1;31merror:\x1b[0m this is an error in nissl; please report it with the lines above");
    ExitCode::from(INTERNAL)
}

fn render(err: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for cause in err.chain() {
        let text = cause.to_string();
        // Names carry the nearest valid one at the end of their message; on a terminal it has a line of its own.
        let (text, nearest) = match text.split_once("; did you mean ") {
            Some((text, nearest)) => (text.to_owned(), Some(format!("did you mean {nearest}"))),
            None => (text, None),
        };
        let own = cause.downcast_ref::<TaskError>().and_then(TaskError::hint);
        hints.extend(own.into_iter().chain(nearest).filter(|hint| !hints.contains(hint)).collect::<Vec<_>>());
        if !lines.iter().any(|line| line.ends_with(&text)) {
            lines.push(text);
        }
    }
    let (first, causes) = lines.split_first().map_or(("", &[][..]), |(first, causes)| (first.as_str(), causes));
    let error = format!("\x1b[1;31merror:\x1b[0m {}\n", first.trim_end());
    let causes = causes.iter().map(|line| format!("  because: {}\n", line.trim_end()));
    let hints = hints.iter().map(|hint| format!("\x1b[1;36mhint:\x1b[0m {hint}\n"));
    std::iter::once(error).chain(causes).chain(hints).collect()
}

fn is_broken_pipe(err: &anyhow::Error) -> bool {
    err.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
