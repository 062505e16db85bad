//! Cutting a text up from its beginning, each time by the longest token that its bytes begin with.

use std::collections::HashMap;
use std::ops::Range;

/// The tokens as a tree of their bytes.
#[derive(Debug)]
pub(super) struct Longest {
    /// From a node by a byte to another; the root is 0.
    next: HashMap<(u32, u8), u32>,
    /// The token that each node's bytes are.
    token: Vec<Option<u32>>,
}

impl Longest {
    /// Of tokens and their bytes; the last of the same bytes counts. `Err` gives a byte that is no token.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Result<Self, u8> {
        let mut tree = Self { next: HashMap::new(), token: vec![None] };
        for (id, bytes) in tokens {
            let mut node = 0;
            for &byte in bytes {
                let new = tree.token.len() as u32;
                node = *tree.next.entry((node, byte)).or_insert(new);
                if node == new {
                    tree.token.push(None);
                }
            }
            tree.token[node as usize] = Some(id);
        }
        let whole = |byte: &u8| tree.longest(&[*byte]).is_none();
        match (0..=u8::MAX).find(whole) {
            Some(byte) => Err(byte),
            None => Ok(tree),
        }
    }

    /// The tokens of a text and the bytes that each stands for.
    pub(super) fn cut(&self, text: &[u8]) -> Vec<(u32, Range<usize>)> {
        let mut found = Vec::new();
        let mut start = 0;
        while let Some((token, n)) = self.longest(&text[start..]) {
            found.push((token, start..start + n));
            start += n;
        }
        found
    }

    /// The longest token that these bytes begin with, and how many it has; none only where there are no bytes.
    fn longest(&self, text: &[u8]) -> Option<(u32, usize)> {
        let (mut node, mut found) = (0, None);
        for (idx, &byte) in text.iter().enumerate() {
            let Some(&next) = self.next.get(&(node, byte)) else { break };
            node = next;
            found = self.token[node as usize].map(|token| (token, idx + 1)).or(found);
        }
        found
    }
}
