//! Progress on stderr: a bar on a terminal, plain lines elsewhere, or nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use nissl_core::Progress;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A stage that is over before anybody could read its name.
const SHORT: Duration = Duration::from_millis(500);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// A bar with speed and remaining time.
    Bar,
    /// A line a stage and every few seconds.
    Lines,
    /// Nothing.
    Nothing,
}

/// Progress of one run.
pub(crate) struct Meter {
    show: Show,
    stop: Arc<AtomicBool>,
    stage: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    unit: String,
    total: Option<u64>,
    done: u64,
    start: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    pub(crate) fn new(show: Show, stop: Arc<AtomicBool>) -> Self {
        Self { show, stop, stage: Mutex::new(None) }
    }

    /// Closes the last stage.
    pub(crate) fn finish(&self) {
        if let Some(stage) = self.lock().take() {
            self.close(&stage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stage>> {
        // A thread that panicked while holding it can only have left old numbers.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, stage: &Stage) {
        if let Some(bar) = &stage.bar {
            bar.finish_and_clear();
        }
        // On a terminal the bar has been seen; a line for every short stage would only push the answer away.
        let worth_a_line = match self.show {
            Show::Nothing => false,
            Show::Lines => true,
            Show::Bar => stage.start.elapsed() >= SHORT,
        };
        if worth_a_line {
            anstream::eprintln!("{}", stage.summary());
        }
    }
}

impl Stage {
    fn speed(&self) -> Option<f64> {
        let seconds = self.start.elapsed().as_secs_f64();
        (seconds > 0.5 && self.done > 0).then(|| self.done as f64 / seconds)
    }

    fn speed_text(&self, before: &str, after: &str) -> String {
        let text = |speed| format!("{before}{} {}/s{after}", thousands(speed as u64), self.unit);
        self.speed().map_or_else(String::new, text)
    }

    fn summary(&self) -> String {
        let done = if self.done > 0 { format!(": {} {}", thousands(self.done), self.unit) } else { String::new() };
        format!("{}{done} in {}{}", self.name, duration(self.start.elapsed()), self.speed_text(" (", ")"))
    }

    fn line(&self) -> String {
        let of_total = match self.total.filter(|&total| total > 0) {
            Some(total) => format!(" of {} ({:.0}%)", thousands(total), self.done as f64 / total as f64 * 100.0),
            None => String::new(),
        };
        let left = self.total.zip(self.speed()).map_or_else(String::new, |(total, speed)| {
            let seconds = total.saturating_sub(self.done) as f64 / speed;
            format!(", {} left", duration(Duration::from_secs_f64(seconds)))
        });
        let speed = self.speed_text(", ", "");
        format!("{}: {}{of_total} {}{speed}{left}", self.name, thousands(self.done), self.unit)
    }
}

impl Progress for Meter {
    fn stage(&self, name: &str, total: Option<u64>, unit: &str) {
        let mut current = self.lock();
        if let Some(last) = current.take() {
            self.close(&last);
        }
        let bar = (self.show == Show::Bar).then(|| new_bar(name, total, unit));
        let now = Instant::now();
        *current = Some(Stage {
            name: name.to_owned(),
            unit: unit.to_owned(),
            total,
            done: 0,
            start: now,
            last_line: now,
            bar,
        });
    }

    fn step(&self, done: u64) {
        if let Some(stage) = self.lock().as_mut() {
            stage.done = done;
            if let Some(bar) = &stage.bar {
                bar.set_position(done);
            }
            if self.show == Show::Lines && stage.last_line.elapsed() >= LINE_EVERY {
                stage.last_line = Instant::now();
                anstream::eprintln!("{}", stage.line());
            }
        }
    }

    fn note(&self, line: &str) {
        match (self.show, self.lock().as_ref().and_then(|stage| stage.bar.as_ref())) {
            (Show::Nothing, _) => {}
            (_, Some(bar)) => bar.suspend(|| anstream::eprintln!("note: {line}")),
            (_, None) => anstream::eprintln!("note: {line}"),
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn new_bar(name: &str, total: Option<u64>, unit: &str) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            let bar = ProgressBar::new(total);
            (bar, format!("{{msg}} {{bar:30}} {{human_pos}}/{{human_len}} {unit}, {{speed}}, {{eta}} left"))
        }
        None => (ProgressBar::new_spinner(), format!("{{spinner}} {{msg}} {{human_pos}} {unit}, {{speed}}")),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.with_key("speed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is not worth an error.
        let _ = write!(out, "{}/s", thousands(state.per_sec() as u64));
    }));
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        let numbers = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        let times = [0.04, 9.96, 75.0, 150.0, 9000.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(times, ["0.0 s", "10.0 s", "75 s", "2 min 30 s", "2 h 30 min"]);
    }
}
