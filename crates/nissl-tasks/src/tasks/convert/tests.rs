//! There and back again.
