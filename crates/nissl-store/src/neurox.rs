//! NeuroX files.
