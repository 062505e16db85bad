//! Ctrl-C: the first one asks the task to stop, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

/// Exit code of a stopped run, as shells report it.
pub(crate) const EXIT_CODE: u8 = 130;

/// Installs the handler; the flag becomes true at the first Ctrl-C.
pub(crate) fn install() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        anstream::eprintln!("\nstopping after the current batch; press Ctrl-C again to stop at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
