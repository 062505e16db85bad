//! Ranking a small store.
