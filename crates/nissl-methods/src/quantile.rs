//! Quantiles of a column.

/// The value at or below which at least a share `q` of the values lies, the least such value; `scratch` is overwritten.
///
/// # Panics
/// If there are no values.
pub(crate) fn quantile(column: &[f32], q: f64, scratch: &mut Vec<f32>) -> f32 {
    scratch.clear();
    scratch.extend(column);
    let place = ((q * column.len() as f64).ceil() as usize).clamp(1, column.len()) - 1;
    *scratch.select_nth_unstable_by(place, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn a_share_of_the_values_lies_at_or_below_it() {
        let column = [4.0, 1.0, 3.0, 2.0];
        let of = |q| quantile(&column, q, &mut Vec::new());
        let got = [0.0, 0.25, 0.26, 0.5, 0.99, 1.0].map(of);
        assert_close("quantiles", &got[..], &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0], Tol::EXACT);
    }
}
