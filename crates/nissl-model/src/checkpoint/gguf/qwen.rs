//! Qwen2 and Qwen3 in GGUF: as Llama, with the rows of queries and keys as the family has them.

use super::llama::{renamed, settings};
use super::{Family, Rows};

pub(super) const QWEN2: Family =
    Family { architecture: "qwen2", config: |gguf| settings(gguf, "qwen2"), rename: |name| renamed(name, Rows::Same) };

pub(super) const QWEN3: Family =
    Family { architecture: "qwen3", config: |gguf| settings(gguf, "qwen3"), rename: |name| renamed(name, Rows::Same) };
