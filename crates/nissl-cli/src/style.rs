//! Color: where it is allowed, and the few uses we make of it. Meaning is never in color alone.

use clap::ValueEnum;

/// When to use color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Tells every stream of this process.
    pub(crate) fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// A heading.
pub(crate) fn head(text: &str) -> String {
    format!("\x1b[1m{text}\x1b[0m")
}

/// Something less important.
pub(crate) fn dim(text: &str) -> String {
    format!("\x1b[2m{text}\x1b[0m")
}

/// A word on a background that tells its activation: red above 0, blue below, as strong as `share` of the largest.
pub(crate) fn heat(word: &str, share: f32) -> String {
    let strength = share.abs().clamp(0.0, 1.0);
    if strength < 0.08 {
        return word.to_owned();
    }
    let fade = |full: f32| (255.0 + (full - 255.0) * strength) as u8;
    let [r, g, b] = if share > 0.0 { [214.0, 69.0, 60.0] } else { [58.0, 104.0, 200.0] }.map(fade);
    format!("\x1b[48;2;{r};{g};{b}m\x1b[38;2;20;20;20m{word}\x1b[0m")
}
