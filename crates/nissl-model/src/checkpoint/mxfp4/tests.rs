#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::super::testing::open_as;
use super::*;

/// A file of two tensors of bytes: their shapes and numbers.
fn file(dtype: &str, blocks: (&[usize], &[u8]), scales: (&[usize], &[u8])) -> Vec<u8> {
    let (middle, end) = (blocks.1.len(), blocks.1.len() + scales.1.len());
    let entry = |name: &str, dtype: &str, shape: &[usize], range: [usize; 2]| {
        format!("\"{name}\": {{\"dtype\": \"{dtype}\", \"shape\": {shape:?}, \"data_offsets\": {range:?}}}")
    };
    let first = entry("w_blocks", dtype, blocks.0, [0, middle]);
    let mut header = format!("{{{first}, {}}}", entry("w_scales", "U8", scales.0, [middle, end])).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, blocks.1, scales.1].concat()
}

fn matrix(bytes: &[u8], sizes: [usize; 3], idx: usize) -> Result<Vec<f32>, LoadError> {
    let (_folder, checkpoint) = open_as("w.safetensors", bytes);
    let checkpoint = checkpoint.unwrap();
    Stack::find(&checkpoint, "w", sizes)?.unwrap().matrix(idx)
}

#[test]
fn four_bits_stand_for_a_number_times_the_power_of_their_block() {
    let mut blocks = [0u8; 32];
    blocks[16..24].copy_from_slice(&[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
    let bytes = file("U8", (&[2, 1, 1, 16], &blocks), (&[2, 1, 1], &[127, 130]));
    let values = matrix(&bytes, [2, 1, 32], 1).unwrap();
    let positive = [0.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0];
    assert_eq!(values[..8], positive);
    assert_eq!(values[8..16], positive.map(|value| -value));
    assert!(values[8].is_sign_negative() && values[16..] == [0.0; 16]);
    assert_eq!(matrix(&bytes, [2, 1, 32], 0).unwrap(), [0.0; 32]);
    // The ends of the powers.
    for (scale, value) in [(0, 6.0 * 2.0f64.powi(-127)), (252, 6.0 * 2.0f64.powi(125))] {
        let bytes = file("U8", (&[1, 1, 1, 16], &[0x77; 16]), (&[1, 1, 1], &[scale]));
        assert!(
            matrix(&bytes, [1, 1, 32], 0).unwrap().iter().all(|found| f64::from(*found).to_bits() == value.to_bits())
        );
    }
}

#[test]
fn blocks_that_do_not_fit_are_refused_with_what_is_wrong() {
    let fine = (&[1, 2, 1, 16][..], &[0u8; 32][..]);
    let scales = (&[1, 2, 1][..], &[127u8; 2][..]);
    let refusal = |bytes: &[u8], sizes| matrix(bytes, sizes, 0).unwrap_err().to_string();
    let cases = [
        (file("U8", fine, scales), [1, 2, 64], "w_blocks"),
        (file("U8", fine, scales), [2, 2, 32], "expected [2, 2, 1, 16], got [1, 2, 1, 16]"),
        (file("U8", fine, scales), [1, 2, 33], "expected rows of 33 numbers"),
        (file("U8", fine, (&[1, 2, 2], &[127; 4])), [1, 2, 32], "w_scales"),
        (file("F16", (&[1, 2, 1, 16], &[0; 64]), scales), [1, 2, 32], "expected U8, got F16"),
        (file("U8", fine, (&[1, 2, 1], &[127, 255])), [1, 2, 32], "expected 0 to 252, got 255"),
    ];
    for (bytes, sizes, expected) in cases {
        let message = refusal(&bytes, sizes);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}
