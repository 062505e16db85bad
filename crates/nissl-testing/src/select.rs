//! The same data with rows or columns in another order, or fewer of them.

use ndarray::Axis;
use nissl_core::{Activations, Matrix, TextRows};

/// The chosen rows, in the given order.
pub fn select_rows(x: &Matrix, rows: &[usize]) -> Matrix {
    Matrix::new(x.values().select(Axis(0), rows), x.neurons().to_vec()).expect("the neurons are those of a matrix")
}

/// The values of the chosen columns, in the given order, under the names of the first columns.
pub fn select_columns(x: &Matrix, columns: &[usize]) -> Matrix {
    let neurons = x.neurons()[..columns.len()].to_vec();
    Matrix::new(x.values().select(Axis(1), columns), neurons).expect("the neurons are those of a matrix")
}

/// The chosen rows of a text, in the given order; a new sentence begins where the sentence changes.
pub fn select_text(text: &TextRows, rows: &[usize]) -> TextRows {
    let mut sentence = 0;
    TextRows::from_words(rows.iter().enumerate().map(|(place, &row)| {
        if place > 0 && text.sentence_of()[row] != text.sentence_of()[rows[place - 1]] {
            sentence += 1;
        }
        (sentence, text.word(row))
    }))
}
