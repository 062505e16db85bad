//! What a family is like, told by the family itself: it is asked for a small model, and what it asks for is kept.

use std::path::Path;

use nissl_core::{Site, Stack};

use super::config::SAMPLE_SIZE;
use super::{Architecture, Config, Family, FieldUse};
use crate::checkpoint::{Checkpoint, FORMATS, Whole};
use crate::error::LoadError;

/// What a family is like, where a config says nothing but sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The sites of a model, in order of the forward pass.
    pub sites: Vec<(Stack, Site)>,
    /// The fields of config.json that it knows, in the order of their names. Some families ask for others where a
    /// config switches something on.
    pub fields: Vec<(String, FieldUse)>,
}

impl Family {
    /// What a model of the family is like, and what it reads of a config.
    pub fn outline(&self) -> Outline {
        let config = Config::sample();
        let sites = self.sample(&config).map(|architecture| {
            let info = architecture.info(self.name, self, false, "");
            info.stacks().flat_map(|(stack, _, sites)| sites.iter().map(move |info| (stack, info.site))).collect()
        });
        // What must be as large as something else is read.
        let of_size = |what: &FieldUse| *what == FieldUse::Only(SAMPLE_SIZE.to_string());
        let fields = config.uses().into_iter().map(|(name, what)| {
            let what = if of_size(&what) { FieldUse::Read } else { what };
            (name, what)
        });
        // That every family has sites is tested.
        Outline { sites: sites.unwrap_or_default(), fields: fields.collect() }
    }

    /// What it makes of a config that stands for all.
    pub(super) fn sample(&self, config: &Config) -> Result<Architecture, LoadError> {
        let zeros =
            |(name, shape): &(&str, &[usize])| ((*name).to_owned(), shape.to_vec(), vec![0.0; shape.iter().product()]);
        let sizes = self.mark.as_ref().map_or(&[][..], |mark| mark.sizes);
        // The mark counts as a first layer where layers are counted.
        let mark = self.mark.as_ref().filter(|mark| sizes.iter().all(|(name, _)| *name != mark.weight));
        let marked = mark.map(|mark| (mark.weight.to_owned(), vec![1], vec![0.0]));
        let checkpoint = Checkpoint::in_memory(Path::new(self.name), sizes.iter().map(zeros).chain(marked).collect());
        (self.read)(config, &checkpoint)
    }

    /// The formats of weights that are read for it.
    pub fn formats(&self) -> Vec<&'static str> {
        let is_own = |whole: &Whole| (whole.model_types)().iter().any(|name| self.model_types.contains(name));
        FORMATS.iter().filter(|format| format.whole.as_ref().is_none_or(is_own)).map(|format| format.name).collect()
    }
}
