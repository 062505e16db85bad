//! The demo finds what is there.
