//! Looking at neurons of a small store.
