//! The first few of many, in one order: by value, ties by place.

/// The `n` first of `items` by `key`, largest first; of equals the one that came first.
pub(super) fn largest<T: Copy>(items: impl Iterator<Item = T>, n: usize, key: impl Fn(&T) -> f32) -> Vec<T> {
    let mut best: Vec<T> = Vec::with_capacity(n.min(1024) + 1);
    for item in items {
        let value = key(&item);
        if best.len() == n && best.last().is_none_or(|last| value <= key(last)) {
            continue;
        }
        let place = best.partition_point(|other| key(other) >= value);
        best.insert(place, item);
        best.truncate(n);
    }
    best
}
