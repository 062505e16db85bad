//! How models with rotary positions say in their configs what rotates how, and how far their attention looks back.

use serde_json::json;

use super::{Config, Positions};
use crate::engine::{Pairs, Rotation};
use crate::error::LoadError;

/// The widest head whose rotary frequencies are computed.
const MAX_D_HEAD: usize = 1 << 16;

/// The same rotation in every layer, of the first columns of a head, without any options but the base.
pub(super) fn rotary(
    config: &Config,
    (n_rotated, d_head): (usize, usize),
    pairs: Pairs,
    n_layers: usize,
) -> Result<Positions, LoadError> {
    let rope = rope(config, d_head, n_rotated as f64 / d_head.max(1) as f64)?;
    Ok(Rope { rotation: Rotation { pairs, ..rope.rotation }, ..rope }.everywhere(n_layers))
}

/// What a config says of rotary positions.
pub(super) struct Rope {
    pub(super) rotation: Rotation,
    /// The longest text for which the rotation is the one that the model has learned, where that is not all of its
    /// context.
    pub(super) n_ctx: Option<usize>,
}

impl Rope {
    /// The same rotation in every layer.
    pub(super) fn everywhere(self, n_layers: usize) -> Positions {
        Positions::Rotary(vec![Some(self.rotation); n_layers])
    }
}

/// The rotation of heads of `d_head` columns, of which by default the share `part` is rotated.
pub(super) fn rope(config: &Config, d_head: usize, part: f64) -> Result<Rope, LoadError> {
    let theta = config.number_or("rope_theta", 10_000.0)?;
    let part = config.number_or("partial_rotary_factor", part)?;
    // The newer group says all; the older one is there only where positions are scaled.
    let group = config.group("rope_parameters")?;
    let group = group.map_or_else(|| config.group("rope_scaling"), |group| Ok(Some(group)))?;
    rope_of(config, group.as_ref(), d_head, (theta, part))
}

/// The rotation that a group of options says, with what holds where it does not say it: the base, and the share of a
/// head that is rotated.
pub(super) fn rope_of(
    config: &Config,
    group: Option<&Config>,
    d_head: usize,
    (theta, part): (f64, f64),
) -> Result<Rope, LoadError> {
    let empty;
    let group = if let Some(group) = group {
        group
    } else {
        empty = Config::empty(config.path());
        &empty
    };
    let theta = group.number_or("rope_theta", theta)?;
    if !(theta > 0.0 && theta.is_finite()) {
        return Err(config.wrong("rope_theta", "a number above 0", theta));
    }
    let part = group.number_or("partial_rotary_factor", part)?;
    let n = (d_head as f64 * part) as usize;
    if d_head > MAX_D_HEAD || n > d_head || !n.is_multiple_of(2) || n == 0 {
        let expected = format!("an even number up to {MAX_D_HEAD} of rotated columns, of the {d_head} of a head");
        return Err(config.wrong("head_dim", expected, n));
    }
    let kind = match group.text("rope_type") {
        Ok(kind) => kind,
        Err(_) if group.get("type").is_some() => group.text("type")?,
        Err(_) => "default".to_owned(),
    };
    let scaling = Scaling { config, group, theta, n };
    let plain = scaling.frequencies();
    let (frequencies, factor, n_ctx): (Vec<f32>, f64, Option<usize>) = match kind.as_str() {
        // Dynamic frequencies change with the length only of texts that are longer than the context.
        "default" | "dynamic" => (plain, 1.0, None),
        "linear" => {
            let factor = scaling.factor()? as f32;
            (plain.iter().map(|frequency| frequency / factor).collect(), 1.0, None)
        }
        "llama3" => (scaling.llama3(&plain)?, 1.0, None),
        "yarn" => {
            let (frequencies, factor) = scaling.yarn()?;
            (frequencies, factor, None)
        }
        "longrope" | "su" => {
            let (frequencies, factor, n_ctx) = scaling.longrope()?;
            (frequencies, factor, Some(n_ctx))
        }
        _ => return Err(group.wrong("rope_type", "default, linear, dynamic, llama3, yarn or longrope", kind)),
    };
    let known = |name: &str| FIELDS.contains(&name);
    if let Some(unknown) = group.names().find(|name| !known(name)) {
        return Err(group.wrong(&format!("rope_parameters.{unknown}"), format!("one of {}", FIELDS.join(", ")), "one"));
    }
    Ok(Rope {
        rotation: Rotation { frequencies: frequencies.into(), factor: factor as f32, pairs: Pairs::Halves },
        n_ctx,
    })
}

/// The options of a group.
const FIELDS: &[&str] = &[
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "low_freq_factor",
    "high_freq_factor",
    "short_factor",
    "long_factor",
];

/// A scaling of the frequencies of `n` rotated columns.
struct Scaling<'a> {
    config: &'a Config,
    group: &'a Config,
    theta: f64,
    n: usize,
}

impl Scaling<'_> {
    /// theta^(2 i / n) in 32 bits, as the reference computes it.
    fn wavelengths(&self) -> impl Iterator<Item = f32> {
        let (theta, n) = (self.theta as f32, self.n);
        (0..n / 2).map(move |i| theta.powf((2 * i) as f32 / n as f32))
    }

    /// Those without any scaling.
    fn frequencies(&self) -> Vec<f32> {
        self.wavelengths().map(|wavelength| 1.0 / wavelength).collect()
    }

    /// A number above 0.
    fn positive(&self, field: &str) -> Result<f64, LoadError> {
        let value = self.group.number(field)?;
        if value > 0.0 && value.is_finite() {
            Ok(value)
        } else {
            Err(self.group.wrong(field, "a number above 0", value))
        }
    }

    fn factor(&self) -> Result<f64, LoadError> {
        self.positive("factor")
    }

    /// The context before the scaling, from the group or beside it.
    fn original(&self) -> Result<usize, LoadError> {
        let field = "original_max_position_embeddings";
        let n = match self.group.get(field) {
            Some(_) => self.group.size(field)?,
            None => self.config.size(field)?,
        };
        if n == 0 { Err(self.group.wrong(field, "at least 1", n)) } else { Ok(n) }
    }

    /// The context by which the original one is scaled: what is said, or how much longer the context is.
    fn growth(&self, original: usize) -> Result<f64, LoadError> {
        match self.group.get("factor") {
            Some(_) => self.factor(),
            None => Ok(self.config.size("max_position_embeddings")? as f64 / original as f64),
        }
    }

    /// Llama 3: long waves are stretched, short ones stay, those between are in between.
    fn llama3(&self, plain: &[f32]) -> Result<Vec<f32>, LoadError> {
        let (factor, original) = (self.factor()? as f32, self.original()? as f32);
        let (low, high) = (self.positive("low_freq_factor")? as f32, self.positive("high_freq_factor")? as f32);
        let scaled = |&frequency: &f32| {
            let wave = 2.0 * std::f32::consts::PI / frequency;
            if wave > original / low {
                frequency / factor
            } else if wave < original / high {
                frequency
            } else {
                let smooth = (original / wave - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        };
        Ok(plain.iter().map(scaled).collect())
    }

    /// YaRN: as Llama 3's, by a ramp over the columns; what is rotated has a factor too.
    fn yarn(&self) -> Result<(Vec<f32>, f64), LoadError> {
        let original = self.original()?;
        let factor = self.growth(original)?;
        let number = |field: &str, default| self.group.number_or(field, default);
        let ln_factor = |times: f64| if factor <= 1.0 { 1.0 } else { 0.1 * times * factor.ln() + 1.0 };
        let attention = match (number("mscale", 0.0)?, number("mscale_all_dim", 0.0)?) {
            (0.0, _) | (_, 0.0) => ln_factor(1.0),
            (one, all) => ln_factor(one) / ln_factor(all),
        };
        let attention = number("attention_factor", attention)?;
        let (fast, slow) = (number("beta_fast", 32.0)?, number("beta_slow", 1.0)?);
        let n = self.n as f64;
        let column =
            |turns: f64| n * (original as f64 / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * self.theta.ln());
        let (mut low, mut high) = (column(fast), column(slow));
        if self.group.flag_or("truncate", true)? {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(n - 1.0));
        if low.to_bits() == high.to_bits() {
            high += 0.001;
        }
        let ramp = |i: usize| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        let scaled = |(i, wavelength): (usize, f32)| {
            let plain = 1.0 - ramp(i);
            1.0 / (factor as f32 * wavelength) * (1.0 - plain) + 1.0 / wavelength * plain
        };
        Ok((self.wavelengths().enumerate().map(scaled).collect(), attention))
    }

    /// `LongRoPE`: a factor for each frequency. There are two sets, for texts that fit the original context and for longer
    /// ones; only the first is taken, and longer texts are refused.
    fn longrope(&self) -> Result<(Vec<f32>, f64, usize), LoadError> {
        let original = self.original()?;
        let factor = self.growth(original)?;
        let default = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
        let attention = self.group.number_or("attention_factor", default)?;
        let short = self.group.numbers("short_factor")?;
        if short.len() != self.n / 2 || short.iter().any(|factor| *factor <= 0.0) {
            let expected = format!("{} numbers above 0", self.n / 2);
            return Err(self.group.wrong("short_factor", expected, format!("{} numbers", short.len())));
        }
        let frequencies = self.wavelengths().zip(short).map(|(wave, factor)| 1.0 / (factor as f32 * wave));
        Ok((frequencies.collect(), attention, original))
    }
}

/// The windows of the layers: by `layer_types` if the config has them, else those of the layers that `slides` names.
pub(super) fn windows(
    config: &Config,
    n_layers: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, LoadError> {
    let window = config.get("sliding_window").map(|_| config.size("sliding_window")).transpose()?;
    if window == Some(0) {
        return Err(config.wrong("sliding_window", "at least 1", 0));
    }
    let slides = sliding(config, n_layers, slides)?;
    slides
        .into_iter()
        .map(|slides| if slides { window.map(Some).ok_or(()) } else { Ok(None) })
        .collect::<Result<_, _>>()
        .map_err(|()| config.wrong("sliding_window", "a whole number, for layers of sliding_attention", "nothing"))
}

/// Which layers slide, by `layer_types` if the config has them.
pub(super) fn sliding(
    config: &Config,
    n_layers: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, LoadError> {
    let Some(types) = config.texts("layer_types")? else { return Ok((0..n_layers).map(slides).collect()) };
    if types.len() != n_layers {
        return Err(config.wrong("layer_types", format!("one for each of {n_layers} layers"), types.len()));
    }
    let is_sliding = |kind: &String| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        _ => Err(config.wrong("layer_types", json!(["full_attention", "sliding_attention"]), kind)),
    };
    types.iter().map(is_sliding).collect()
}
