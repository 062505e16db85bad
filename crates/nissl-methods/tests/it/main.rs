//! The methods on data whose answers are known, and the rules of the catalogue.

mod conformance;
mod golden;
mod lists;
mod planted;
mod probes;
