//! Activations of a run on disk: written crash-safe, read with every byte checked, open to other programs.
//!
#![doc = include_str!("../README.md")]

mod chunk;
mod dtype;
mod error;
mod files;
mod layout;
mod manifest;
mod moments;
pub mod neurox;
mod selection;
mod sentence;
mod shard;
mod store;
mod tables;
mod verify;
mod writer;
mod zarr;

pub use dtype::Dtype;
pub use error::StoreError;
pub use layout::Layout;
pub use manifest::{CorpusRef, FileDigest, Manifest, ModelRef, Part, Run, SiteWidth};
pub use moments::Moments;
pub use selection::Selection;
pub use sentence::{Row, SentenceRows, Values};
pub use store::Store;
pub use tables::{RowTable, SentenceTable};
pub use verify::Verified;
pub use writer::{ResumePoint, WriteOptions, Writer};
