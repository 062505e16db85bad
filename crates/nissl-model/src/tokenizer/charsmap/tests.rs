#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tokenizers::normalizers::precompiled::Precompiled;

use super::*;

/// What a library makes of a character by rules; the character itself if there is none for it.
fn replaced(library: &Precompiled, from: char) -> String {
    library.normalize_string(&from.to_string())
}

fn follow(rules: &BTreeMap<char, String>) -> Precompiled {
    let rules: Vec<(char, String)> = rules.clone().into_iter().collect();
    let compiled = compile(&rules);
    check(Path::new("x"), &compiled).unwrap();
    Precompiled::from(&compiled).unwrap()
}

#[test]
fn no_rules_change_nothing() {
    let library = follow(&BTreeMap::new());
    assert_eq!(library.normalize_string("a神 "), "a神 ");
}

#[test]
fn as_many_rules_as_there_may_be_find_room() {
    let rules: BTreeMap<char, String> =
        ('\u{1}'..='\u{10ffff}').step_by(16).take(MAX_RULES).map(|from| (from, String::new())).collect();
    assert_eq!(rules.len(), MAX_RULES);
    let library = follow(&rules);
    assert_eq!((replaced(&library, '\u{11}'), replaced(&library, '\u{12}')), (String::new(), "\u{12}".to_owned()));
}

proptest! {
    #[test]
    fn every_character_becomes_what_its_rule_says_and_no_other_changes(
        rules in proptest::collection::btree_map("[\u{1}-\u{ff}ﬀ-ﬆ神-禦𝐀-𝑿]", "[a-zé神𝐀]{0,4}", 0..60),
        others in proptest::collection::vec(any::<char>(), 30),
    ) {
        let rules: BTreeMap<char, String> =
            rules.into_iter().map(|(from, to)| (from.chars().next().unwrap(), to)).collect();
        let library = follow(&rules);
        let near = rules.keys().flat_map(|from| [u32::from(*from) + 1, u32::from(*from) ^ 64]).filter_map(char::from_u32);
        for from in rules.keys().copied().chain(near).chain(others).filter(|from| *from != '\0') {
            let want = rules.get(&from).cloned().unwrap_or_else(|| from.to_string());
            prop_assert_eq!(replaced(&library, from), want, "{:?}", from);
        }
    }
}
