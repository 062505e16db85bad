//! Checks the rules by which sentencepiece replaces characters, before a library follows them.
//!
//! They are the length of a trie, the trie, and texts that end with a zero byte each. A number of the trie holds a
//! label (8 bits), whether a text belongs to its node (bit 8), and where its children lie (22 bits, shifted by 8 if
//! bit 9 is set); children lie at that place, each exclusive-ored with its byte. Everything that can be reached from
//! the root has to lie within the trie, and every text within the texts.

use std::path::Path;

use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

const LEAF: u32 = 1 << 8;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Where the children of a node lie: the place is exclusive-ored with it.
fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6)
}

/// The most rules that are written as a trie: places in it have 21 bits.
pub(crate) const MAX_RULES: usize = 1 << 16;

/// Checks the rules; no bytes at all are no rules.
pub(super) fn check(path: &Path, rules: &[u8]) -> Result<(), LoadError> {
    let wrong = |expected: &str, got: String| malformed(path, "precompiled_charsmap", expected, got);
    if rules.is_empty() {
        return Ok(());
    }
    let split = rules.split_first_chunk::<4>().and_then(|(size, rest)| {
        let size = u32::from_le_bytes(*size) as usize;
        rest.split_at_checked(size).filter(|_| size > 0 && size.is_multiple_of(4))
    });
    let (trie, texts) = split.ok_or_else(|| wrong("a trie and texts", format!("{} bytes", rules.len())))?;
    let texts = std::str::from_utf8(texts).map_err(|err| wrong("texts in UTF-8", err.to_string()))?;
    let trie: Vec<u32> = trie.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let outside = |place: usize| wrong("a trie that leads nowhere else", format!("place {place} of {}", trie.len()));
    let mut seen = vec![false; trie.len()];
    let mut left = vec![(0, true)];
    while let Some((node, is_root)) = left.pop() {
        let place = node ^ offset(trie[node]);
        // The children may lie anywhere in the block of 256.
        if place | 255 >= trie.len() {
            return Err(outside(place));
        }
        if trie[node] & LEAF != 0 && !is_root {
            let at = (trie[place] & !(1 << 31)) as usize;
            if texts.get(at..).is_none() {
                return Err(wrong("texts within the texts", format!("byte {at} of {}", texts.len())));
            }
        }
        for byte in 1..=255 {
            let child = place ^ byte;
            // What has the highest bit set is a value and no node.
            if trie[child] & ((1 << 31) | 0xff) == byte as u32 && !std::mem::replace(&mut seen[child], true) {
                left.push((child, false));
            }
        }
    }
    Ok(())
}

/// The rules by which single characters, in their order, become texts.
///
/// # Panics
/// If there are more than [`MAX_RULES`], or if one is of the character zero.
pub(crate) fn compile(rules: &[(char, String)]) -> Vec<u8> {
    assert!(rules.len() <= MAX_RULES, "a trie of {} rules", rules.len());
    let mut trie = Trie { units: vec![0; 256], taken: vec![false; 256], first_free: 0 };
    trie.taken[0] = true;
    let keys: Vec<String> = rules.iter().map(|(from, _)| from.to_string()).collect();
    let (mut nodes, mut leaves) = (vec![(0, 0..rules.len(), 0)], Vec::new());
    while let Some((node, range, depth)) = nodes.pop() {
        // No character is the beginning of another: a node has children or a text.
        let groups: Vec<&[String]> =
            keys[range.clone()].chunk_by(|a, b| a.as_bytes()[depth] == b.as_bytes()[depth]).collect();
        let bytes: Vec<u8> = groups.iter().map(|group| group[0].as_bytes()[depth]).collect();
        let place = trie.place(&bytes);
        trie.units[node] |= leads_to(node ^ place);
        let mut start = range.start;
        for (group, byte) in groups.into_iter().zip(bytes) {
            let child = place ^ usize::from(byte);
            trie.units[child] = u32::from(byte);
            if group[0].len() == depth + 1 {
                leaves.push((child, start));
            } else {
                nodes.push((child, start..start + group.len(), depth + 1));
            }
            start += group.len();
        }
    }
    let mut texts = Vec::new();
    for (node, rule) in leaves {
        let place = trie.place(&[]);
        trie.units[place] = texts.len() as u32 | 1 << 31;
        trie.units[node] |= leads_to(node ^ place) | LEAF;
        texts.extend_from_slice(rules[rule].1.as_bytes());
        texts.push(0);
    }
    let size = 4 * trie.units.len() as u32;
    let units = trie.units.into_iter().flat_map(u32::to_le_bytes);
    size.to_le_bytes().into_iter().chain(units).chain(texts).collect()
}

/// Where children lie, as a number of the trie says it.
fn leads_to(offset: usize) -> u32 {
    assert!(offset < 1 << 21, "a trie of few rules is small");
    (offset as u32) << 10
}

/// A trie that is being made.
struct Trie {
    units: Vec<u32>,
    taken: Vec<bool>,
    /// No place before it is free.
    first_free: usize,
}

impl Trie {
    /// The first place that is free, and whose children by these bytes are free too; they are taken with it. So no two
    /// nodes have their children at one place, and none finds those of another.
    fn place(&mut self, bytes: &[u8]) -> usize {
        while self.taken.get(self.first_free) == Some(&true) {
            self.first_free += 1;
        }
        let children = |place: usize| bytes.iter().map(move |byte| place ^ usize::from(*byte)).chain([place]);
        let is_free = |place: &usize| children(*place).all(|child| self.taken.get(child) != Some(&true));
        let place = (self.first_free..=self.units.len()).find(is_free).expect("beyond the end all is free");
        // Children lie in the block of 256 of their place.
        let n = self.units.len().max((place | 255) + 1);
        self.units.resize(n, 0);
        self.taken.resize(n, false);
        children(place).for_each(|child| self.taken[child] = true);
        place
    }
}

/// Bytes as text, as tokenizer.json has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = three.iter().enumerate().fold(0, |number, (i, byte)| number | u32::from(*byte) << (16 - 8 * i));
        for digit in 0..4 {
            let value = (number >> (18 - 6 * digit)) & 63;
            text.push(if digit > three.len() { '=' } else { DIGITS[value as usize].into() });
        }
    }
    text
}

/// The bytes of such a text; `None` if it is none.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.as_bytes().chunks(4) {
        let mut number = 0;
        for digit in 0..4 {
            let value = four.get(digit).map_or(Some(0), |byte| DIGITS.iter().position(|known| known == byte));
            number = number << 6 | value?;
        }
        bytes.extend_from_slice(&[(number >> 16) as u8, (number >> 8) as u8, number as u8][..four.len() * 3 / 4]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
