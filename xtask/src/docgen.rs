//! Documents made from the catalogue: `docs/methods.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nissl_core::Scope;
use nissl_methods::{METHODS, MethodEntry, MethodKind};
use serde_json::Value;

/// Where the document of the methods lies.
pub(crate) const METHODS_PAGE: &str = "docs/methods.md";

/// Writes the documents; true if that worked.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let path = root.join(METHODS_PAGE);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(&path, methods_page()).with_context(|| format!("cannot write {}", path.display()))?;
    crate::say(&format!("wrote {METHODS_PAGE}\n"));
    Ok(true)
}

/// The document of the methods.
pub(crate) fn methods_page() -> String {
    let mut page = "\
# Methods

Made from the catalogue by `cargo xtask docgen`; do not edit. `nissl methods NAME` says the same on the command line.

| method | what it does | given | finds | about | scalability | labels | intervenes | a person reads |
|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for method in METHODS {
        let card = &method.card;
        let scope = match card.scope {
            Scope::Global => "a corpus",
            Scope::Local => "an example",
            Scope::Both => "either",
        };
        let cells = [
            &format!("[`{0}`](#{0})", method.name),
            method.summary,
            card.input,
            card.output,
            scope,
            card.scalability,
            yes(card.supervision),
            yes(card.causal),
            yes(card.human_in_the_loop),
        ];
        page += &row(&cells);
    }
    for method in METHODS {
        section(&mut page, method);
    }
    page
}

fn section(page: &mut String, method: &MethodEntry) {
    let kind = match method.kind {
        MethodKind::Ranker => "A ranker: from labeled activations to scores",
        MethodKind::Profiler => "A profiler: from activations and words to what each neuron fires on",
        MethodKind::Attributor => "An attributor: from a model and prompts to scores",
    };
    let _ = write!(
        page,
        "\n## {}\n\n{}\n\n{kind}; of the family {}. Source: {}.\n",
        method.name,
        method.summary,
        method.card.family,
        method.source.trim_end_matches('.'),
    );
    let schema = method.schema();
    let Some(parameters) = schema["properties"].as_object().filter(|parameters| !parameters.is_empty()) else {
        return;
    };
    *page += "\n| parameter | default | range | meaning |\n|---|---|---|---|\n";
    let defaults = method.defaults();
    for (name, parameter) in parameters {
        let about = parameter["description"].as_str().unwrap_or_default().replace('\n', " ");
        *page += &row(&[&format!("`{name}`"), &value(&defaults[name]), &range(&schema, parameter), &about]);
    }
}

/// The values that a parameter may have, as its schema says.
fn range(schema: &Value, parameter: &Value) -> String {
    let parameter = match parameter["$ref"].as_str().and_then(|at| schema.pointer(at.trim_start_matches('#'))) {
        Some(definition) => definition,
        None => parameter,
    };
    let named = |value: &Value| value.as_str().map(|name| format!("`{name}`"));
    let names = parameter["enum"].as_array().map(|names| names.iter().filter_map(named).collect::<Vec<_>>());
    let variants = parameter["oneOf"].as_array();
    let variants = variants.map(|all| all.iter().filter_map(|one| named(&one["const"])).collect::<Vec<_>>());
    if let Some(names) = names.or(variants).filter(|names| !names.is_empty()) {
        return names.join(", ");
    }
    let bound = |key: &str| parameter[key].is_number().then(|| parameter[key].to_string());
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("\u{2265} {low}"),
        (None, Some(high)) => format!("\u{2264} {high}"),
        (None, None) => match parameter["type"].as_str() {
            Some("boolean") => "`true`, `false`".to_owned(),
            _ => String::new(),
        },
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_methods_is_fresh() {
        let written = std::fs::read_to_string(crate::root().join(METHODS_PAGE)).unwrap_or_default();
        assert!(written == methods_page(), "{METHODS_PAGE} differs from the catalogue: run `cargo xtask docgen`");
    }

    #[test]
    fn every_method_and_parameter_is_on_the_page() {
        let page = methods_page();
        for method in METHODS {
            assert!(page.contains(&format!("\n## {}\n", method.name)), "{}", method.name);
            for (name, _) in method.defaults().as_object().into_iter().flatten() {
                assert!(page.contains(&format!("| `{name}` |")), "{name} of {}", method.name);
            }
        }
    }
}
