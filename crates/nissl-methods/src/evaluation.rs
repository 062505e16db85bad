//! How good an answer is: of rankings their overlap, agreement, stability and spread, what few neurons tell of a concept,
//! the length of its description, and what the model loses of it without them; of explanations how well they foretell
//! activations.
//!
//! The evaluator is never the ranker: what is measured here is fitted afresh, and stands beside random neurons, the
//! worst ones, and all of them.

pub mod agreement;
pub mod calibration;
pub mod damage;
pub mod description;
pub mod explanation;
pub mod few;
pub mod firing;
pub mod formula;
pub mod interchange;
pub mod overlap;
pub mod rating;
pub mod sampling;
pub mod spread;
