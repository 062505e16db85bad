//! One neuron: a unit at a site.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::NameError;
use crate::site::HookPoint;

/// Serializes a type as its `Display` text and reads it back by `FromStr`.
macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

/// One neuron: unit `idx` at a hook point. Prints as `blocks.3.mlp.hook_post[1207]`.
///
/// The order is the order of the forward pass, then of the unit; it breaks every tie in a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeuronId {
    /// Where the neuron is.
    pub point: HookPoint,
    /// Which unit it is, from 0.
    pub idx: u32,
}

impl NeuronId {
    /// Unit `idx` at `point`.
    pub fn new(point: HookPoint, idx: u32) -> Self {
        Self { point, idx }
    }
}

impl fmt::Display for NeuronId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.point, self.idx)
    }
}

impl FromStr for NeuronId {
    type Err = NameError;

    /// Reads `blocks.3.mlp.hook_post[1207]`, with any name that [`HookPoint`] reads.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let unknown = || NameError {
            kind: "neuron",
            name: text.to_owned(),
            nearest: Some("the form blocks.3.mlp.hook_post[1207]".to_owned()),
        };
        let (point, idx) = text.strip_suffix(']').and_then(|t| t.split_once('[')).ok_or_else(unknown)?;
        Ok(Self { point: point.parse()?, idx: idx.parse().map_err(|_| unknown())? })
    }
}

serde_as_text!(NeuronId);

/// The columns of several sites side by side: every unit of every `(point, width)`, in the given order.
pub fn site_columns(sites: &[(HookPoint, usize)]) -> Vec<NeuronId> {
    sites.iter().flat_map(|&(point, width)| (0..width as u32).map(move |idx| NeuronId::new(point, idx))).collect()
}
