//! Kinds of difficulty, each with its steps.

use nissl_core::nearest;
use nissl_methods::truth::Difficulty;

use crate::error::TaskError;

/// A kind of difficulty.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    values: &'static [f64],
    quick: &'static [f64],
    set: fn(&mut Difficulty, f64),
}

/// Every kind.
pub const AXES: &[Axis] = &[
    Axis {
        name: "signal",
        what: "signal, in deviations of the noise",
        values: &[0.125, 0.25, 0.5, 1.0, 2.0, 4.0],
        quick: &[0.25, 1.0, 4.0],
        set: |difficulty, value| difficulty.signal = value,
    },
    Axis {
        name: "share",
        what: "share of the rows with the concept",
        values: &[0.15, 0.05, 0.02, 0.01, 0.005],
        quick: &[0.15, 0.05, 0.01],
        set: |difficulty, value| difficulty.share = value,
    },
    Axis {
        name: "concepts",
        what: "number of concepts",
        values: &[1.0, 2.0, 4.0, 8.0, 14.0],
        quick: &[1.0, 3.0, 6.0],
        set: |difficulty, value| difficulty.concepts = value as usize,
    },
    Axis {
        name: "copies",
        what: "copies of each focused neuron",
        values: &[0.0, 1.0, 3.0, 7.0, 15.0],
        quick: &[0.0, 1.0, 7.0],
        set: |difficulty, value| difficulty.copies = value as usize,
    },
    Axis {
        name: "rows",
        what: "rows",
        values: &[250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0],
        quick: &[250.0, 1000.0, 2000.0],
        set: |difficulty, value| difficulty.rows = value as usize,
    },
    Axis {
        name: "confound",
        what: "correlation with what goes along",
        values: &[0.0, 0.3, 0.6, 0.8, 0.95],
        quick: &[0.0, 0.6, 0.95],
        set: |difficulty, value| difficulty.confound = value,
    },
];

/// What is planted where nothing else is said.
pub(super) fn base(quick: bool) -> Difficulty {
    let (rows, neurons, concepts) = if quick { (1000, 160, 3) } else { (2000, 384, 4) };
    Difficulty { rows, neurons, concepts, share: 0.05, ..Difficulty::default() }
}

/// The kinds of these names, or all.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Axis>, TaskError> {
    let find = |name: &String| {
        AXES.iter().find(|axis| axis.name == name).copied().ok_or_else(|| {
            let all: Vec<&str> = AXES.iter().map(|axis| axis.name).collect();
            let hint = nearest(name, &all).map_or(String::new(), |name| format!("; did you mean {name}?"));
            TaskError::config("axes", format!("some of {}", all.join(", ")), format!("{name}{hint}"))
        })
    };
    if names.is_empty() { Ok(AXES.to_vec()) } else { names.iter().map(find).collect() }
}

/// A value of a kind of difficulty, as people read it.
pub(super) fn shown(axis: &str, value: f64) -> String {
    if axis == "share" { format!("{}%", (value * 1000.0).round() / 10.0) } else { value.to_string() }
}

impl Axis {
    /// The steps.
    pub fn values(&self, quick: bool) -> &'static [f64] {
        if quick { self.quick } else { self.values }
    }

    /// A difficulty with another value of this kind.
    pub(super) fn at(&self, mut difficulty: Difficulty, value: f64) -> Difficulty {
        (self.set)(&mut difficulty, value);
        difficulty
    }
}
