//! Extraction on the demo model.
