use std::convert::Infallible;

use super::*;

/// Runs a search of a game of sets.
fn search(search: Search, n: usize, game: impl Fn(&[usize]) -> f64) -> Best {
    search.run(n, |sets| Ok::<_, Infallible>(sets.iter().map(|set| game(set)).collect())).unwrap()
}

/// Units 1 and 2 stand in for each other, unit 0 does nothing.
fn either(set: &[usize]) -> f64 {
    f64::from(u8::from(set.contains(&1) && set.contains(&2)))
}

#[test]
fn two_units_that_stand_in_for_each_other_are_found_together() {
    let found = search(Search { most: 2, ..Search::default() }, 3, either);
    assert_eq!((found.set, found.effect), (vec![1, 2], 1.0));
}

#[test]
fn a_greedy_search_without_ties_takes_an_idle_unit_which_is_dropped() {
    let greedy = Search { beam: 1, most: 3, ties: 0 };
    let found = search(greedy, 3, either);
    assert_eq!(found.sizes[0].0, [0]);
    assert_eq!(found.sizes[2].0, [0, 1, 2]);
    assert_eq!((found.set, found.effect), (vec![1, 2], 1.0));
}

#[test]
fn of_sums_the_largest_units_are_the_best_set_of_every_size() {
    let worth = [0.3, -1.0, 2.0, 0.5, 1.0, -0.2];
    let found = search(Search::default(), 6, |set| set.iter().map(|&unit| worth[unit]).sum());
    assert_eq!(found.set, [0, 2, 3, 4]);
    assert_eq!(found.sizes[..3], [(vec![2], 2.0), (vec![2, 4], 3.0), (vec![2, 3, 4], 3.5)]);
}

#[test]
fn a_beam_finds_at_least_what_a_greedy_search_does() {
    // 1 and 2 do much together, 0 most alone.
    let game = |set: &[usize]| match (set.contains(&0), set.contains(&1), set.contains(&2)) {
        (_, true, true) => 5.0,
        (true, ..) => 2.0,
        (_, false, false) => 0.0,
        _ => 1.0,
    };
    let of = |beam| search(Search { beam, most: 2, ties: 0 }, 4, game).effect;
    assert_eq!((of(1), of(2)), (2.0, 5.0));
}

#[test]
fn of_no_candidates_there_is_no_set() {
    let found = search(Search::default(), 0, |_| 1.0);
    assert!(found.set.is_empty() && found.sizes.is_empty());
}
