//! The nearest valid name to a misspelt one, for the `hint:` line of an error.

/// The candidate with the smallest edit distance to `name`, if it is near enough to be what was meant.
///
/// Near enough: at most a third of the longer name's characters differ, or one name starts with the other.
///
/// ```
/// assert_eq!(nissl_core::nearest("nuon", ["noun", "verb"]), Some("noun".to_owned()));
/// assert_eq!(nissl_core::nearest("uposs", ["Poss", "upos"]), Some("upos".to_owned()));
/// assert_eq!(nissl_core::nearest("banana", ["noun", "verb"]), None);
/// ```
pub fn nearest<I>(name: &str, candidates: I) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let wanted = name.to_lowercase();
    // By distance; of equals, the one that starts alike, then the first.
    let mut best: Option<((usize, bool), String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let lower = candidate.to_lowercase();
        let distance = edit_distance(&wanted, &lower);
        let longer = wanted.chars().count().max(lower.chars().count());
        let prefix = !wanted.is_empty() && (lower.starts_with(&wanted) || wanted.starts_with(&lower));
        let key = (distance, !prefix);
        if (distance * 3 <= longer.max(4) + 1 || prefix) && best.as_ref().is_none_or(|(least, _)| key < *least) {
            best = Some((key, candidate.to_owned()));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, with a swap of two neighbors counted as one.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
