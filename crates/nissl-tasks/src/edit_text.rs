//! Edits as short texts: `3.mlp_post[42] *= 2 @generated if 0.resid_post[7] > 1.5`.
//!
//! ```text
//! edit       site [ '[' units ']' ] change [ '@' positions ] [ 'if' site '[' unit ']' bound [ bound ] ]
//! units      42    1,5,9    0-63    h2 (head 2 of an attention site)    without brackets all
//! change     = 0.5 (set)    *= 2 (scale)    += -1 (add)
//! positions  all    3    0,2,-1    5.. (5 and all after it)    -2..    generated
//! bound      > 0.5    < 2
//! ```

use std::path::Path;

use nissl_core::{Condition, Edit, EditSpec, HookPlan, HookPoint, ModelInfo, NeuronId, Positions, Site, Units};

use crate::error::TaskError;

/// The edits of a hook plan in a file, and behind them those of short texts.
///
/// # Errors
/// If the file is no hook plan or captures something, or an edit cannot be read.
pub(crate) fn plan(file: Option<&Path>, edits: &[String], model: &ModelInfo) -> Result<HookPlan, TaskError> {
    let mut plan = HookPlan::default();
    if let Some(path) = file {
        let bytes = std::fs::read(path).map_err(|source| TaskError::io("read", path, source))?;
        let format = |expected: &str, got: String| {
            let expected = expected.to_owned();
            TaskError::Format { path: path.to_owned(), expected, got }
        };
        let read: HookPlan =
            serde_json::from_slice(&bytes).map_err(|err| format("a hook plan as JSON", err.to_string()))?;
        if let Some(point) = read.capture.first() {
            let got = format!("a capture at {point}");
            return Err(format("edits alone: what a run captures is recorded with nissl extract", got));
        }
        plan.edits = read.edits;
    }
    for edit in edits {
        plan.edits.push(parse(edit, model)?);
    }
    Ok(plan)
}

/// Reads an edit of a model's neurons.
///
/// # Errors
/// If it is not written as above, with the place; or if the model has no such site. Units are checked with the plan.
pub(crate) fn parse(text: &str, model: &ModelInfo) -> Result<EditSpec, TaskError> {
    let mut reader = Reader { text, at: 0, model };
    let edit = reader.edit()?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.expected("'@' and positions, 'if' and a condition, or the end"));
    }
    Ok(edit)
}

/// Reads neurons: a site, and units in brackets if not all are meant.
///
/// # Errors
/// If it is not written as an edit's site and units, with the place; or the model has no such site or unit.
pub(crate) fn neurons(text: &str, model: &ModelInfo) -> Result<Vec<NeuronId>, TaskError> {
    let mut reader = Reader { text, at: 0, model };
    let point = reader.point()?;
    let width = model.width(point).unwrap_or(0) as u32;
    let units = if reader.take("[") { reader.units(point)? } else { Units::All };
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.expected("the end"));
    }
    let list = match units {
        Units::All => (0..width).collect(),
        Units::Some(list) => list,
    };
    match list.iter().find(|&&unit| unit >= width) {
        Some(unit) => Err(reader.wrong(format!("{point} has {width} units, no unit {unit}"))),
        None => Ok(list.into_iter().map(|unit| NeuronId::new(point, unit)).collect()),
    }
}

/// `3.mlp_post` for `blocks.3.mlp.hook_post`.
pub(crate) fn point_name(point: HookPoint) -> String {
    point.layer().map_or_else(|| point.site().to_string(), |layer| format!("{layer}.{}", point.site()))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    model: &'a ModelInfo,
}

impl<'a> Reader<'a> {
    fn edit(&mut self) -> Result<EditSpec, TaskError> {
        let point = self.point()?;
        let units = if self.take("[") { self.units(point)? } else { Units::All };
        let n_units = match &units {
            Units::All => self.model.width(point).unwrap_or(0),
            Units::Some(list) => list.len(),
        };
        let edit = if self.take("*=") {
            Edit::Scale { factor: self.number()? }
        } else if self.take("+=") {
            Edit::Add { values: vec![self.number()?; n_units] }
        } else if self.take("=") {
            Edit::Set { value: self.number()? }
        } else {
            return Err(self.expected("'=', '*=' or '+=' and a number"));
        };
        let positions = if self.take("@") { self.positions()? } else { Positions::All };
        let when = if self.take("if ") { Some(self.condition()?) } else { None };
        Ok(EditSpec { point, units, positions, edit, when })
    }

    /// A site that the model has.
    fn point(&mut self) -> Result<HookPoint, TaskError> {
        self.blanks();
        let start = self.at;
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        if name.is_empty() {
            return Err(self.expected("a site such as 3.mlp_post"));
        }
        let point: HookPoint = match name.parse() {
            Ok(point) => point,
            Err(err) => {
                self.at = start;
                return Err(self.wrong(err.to_string()));
            }
        };
        if self.model.width(point).is_none() {
            let names: Vec<String> = self.model.points().map(|(point, _)| point.to_string()).collect();
            let nearest = nissl_core::nearest(&point.to_string(), names);
            return Err(TaskError::UnknownSite { owner: self.model.name.clone(), name: name.to_owned(), nearest });
        }
        Ok(point)
    }

    /// Units and the bracket behind them.
    fn units(&mut self, point: HookPoint) -> Result<Units, TaskError> {
        let mut list = Vec::new();
        loop {
            self.blanks();
            if self.take("h") {
                let start = self.at;
                let (head, n_heads) = (self.whole()?, self.n_heads(point));
                let width = self.model.width(point).unwrap_or(0) as u32;
                if n_heads == 0 || head >= n_heads {
                    self.at = start;
                    return Err(self.expected(&match n_heads {
                        0 => format!("numbers of units: {point} has no heads"),
                        n => format!("a head from 0 to {}", n - 1),
                    }));
                }
                let each = width / n_heads;
                list.extend(head * each..(head + 1) * each);
            } else {
                let first = self.whole()?;
                let last = if self.take("-") { self.whole()? } else { first };
                if last < first {
                    return Err(self.expected(&format!("a unit from {first} on")));
                }
                // A range that is far too long is refused with the plan, by its last unit.
                let width = self.model.width(point).unwrap_or(0) as u32;
                list.extend(first..=last.min(first.max(width)));
            }
            if self.take("]") {
                return Ok(Units::Some(list));
            }
            if !self.take(",") {
                return Err(self.expected("',' and another unit, or ']'"));
            }
        }
    }

    fn n_heads(&self, point: HookPoint) -> u32 {
        match point.site() {
            Site::AttnQ | Site::AttnZ | Site::AttnPattern => self.model.n_heads as u32,
            Site::AttnK | Site::AttnV => self.model.n_kv_heads as u32,
            _ => 0,
        }
    }

    fn positions(&mut self) -> Result<Positions, TaskError> {
        if self.take("all") {
            return Ok(Positions::All);
        }
        if self.take("generated") {
            return Ok(Positions::Generated);
        }
        let mut places = vec![self.place()?];
        if self.take("..") {
            return Ok(Positions::From(places[0]));
        }
        while self.take(",") {
            places.push(self.place()?);
        }
        Ok(Positions::InSentence(places))
    }

    fn condition(&mut self) -> Result<Condition, TaskError> {
        let point = self.point()?;
        if !self.take("[") {
            return Err(self.expected("'[' and a unit"));
        }
        let neuron = NeuronId::new(point, self.whole()?);
        if !self.take("]") {
            return Err(self.expected("']'"));
        }
        let mut when = Condition { neuron, above: None, below: None };
        loop {
            if when.above.is_none() && self.take(">") {
                when.above = Some(self.number()?);
            } else if when.below.is_none() && self.take("<") {
                when.below = Some(self.number()?);
            } else if when.above.or(when.below).is_some() {
                return Ok(when);
            } else {
                return Err(self.expected("'>' or '<' and a number"));
            }
        }
    }

    fn number(&mut self) -> Result<f32, TaskError> {
        self.read("a number", |c| c.is_ascii_digit() || "+-.eE".contains(c))
    }

    fn whole(&mut self) -> Result<u32, TaskError> {
        self.read("the number of a unit", |c| c.is_ascii_digit())
    }

    fn place(&mut self) -> Result<i64, TaskError> {
        self.read("all, generated or a position such as 3 or -1", |c| c.is_ascii_digit() || c == '-')
    }

    fn read<T: std::str::FromStr>(&mut self, what: &str, part: impl Fn(char) -> bool) -> Result<T, TaskError> {
        self.blanks();
        let start = self.at;
        let value = self.word(part).parse();
        value.map_err(|_| {
            self.at = start;
            self.expected(what)
        })
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn blanks(&mut self) {
        self.word(char::is_whitespace);
    }

    /// Goes past blanks and `token`, if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expected(&self, what: &str) -> TaskError {
        let got = self.text[self.at..].chars().next().map_or("the end".to_owned(), |c| format!("'{c}'"));
        self.wrong(format!("expected {what}, got {got}"))
    }

    fn wrong(&self, what: String) -> TaskError {
        let column = self.text[..self.at].chars().count();
        TaskError::Edit { text: self.text.to_owned(), column, what }
    }
}

#[cfg(test)]
mod tests;
