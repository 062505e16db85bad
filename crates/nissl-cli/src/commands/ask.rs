//! What commands that ask a model questions share: flags for one prompt and for what of a file is wanted, and which
//! prompts were left out.

use std::io;

use nissl_tasks::tasks::attribute::PromptSummary;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::door::Page;
use crate::progress::thousands;

/// One prompt.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// One prompt
    #[arg(long, value_name = "TEXT", requires = "target")]
    prompt: Option<String>,
    /// The word that should be predicted
    #[arg(long, value_name = "WORD", requires = "prompt")]
    target: Option<String>,
    /// A word to compare it with
    #[arg(long, value_name = "WORD", requires = "prompt")]
    foil: Option<String>,
    /// Another text of as many tokens, from which activations are moved
    #[arg(long, value_name = "TEXT", requires = "prompt")]
    other: Option<String>,
}

impl One {
    /// The prompt as tasks take it, if one was given.
    fn prompt(&self) -> Option<Value> {
        let Self { prompt, target, foil, other } = self;
        let text = prompt.as_ref()?;
        Some(json!({ "text": text, "target": target, "foil": foil, "other": other, "concept": "" }))
    }

    /// The flags of a command as fields of its task's config, the one prompt among them.
    pub(crate) fn flags(&self, args: &impl Serialize) -> serde_json::Result<Value> {
        let mut flags = serde_json::to_value(args)?;
        without_empty(&mut flags);
        if let Some(prompt) = self.prompt() {
            flags["prompts"] = Value::Array(vec![prompt]);
        }
        Ok(flags)
    }
}

/// What of the prompts is wanted.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The prompts")]
pub(crate) struct Read {
    /// Format of the prompts [default: found out]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// Only concepts whose name begins so; may be given again
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    only: Vec<String>,
    /// Only the first N concepts
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts: Option<usize>,
    /// Only the first N prompts of a concept
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    each: Option<usize>,
}

/// Takes away groups of flags of which none was given, so that those of a config file stay.
pub(crate) fn without_empty(flags: &mut Value) {
    if let Value::Object(fields) = flags {
        fields.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
    }
}

/// Tells which prompts were left out, and why.
pub(crate) fn left_out(prompts: &PromptSummary, page: &mut Page<'_>) -> io::Result<()> {
    for out in &prompts.left_out {
        writeln!(page.out, "left out: {}: {} ('{}')", thousands(out.prompts as u64), out.why, out.first)?;
    }
    Ok(())
}
