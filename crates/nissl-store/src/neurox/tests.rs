use super::{Format, json, layer_points};

#[test]
fn values_are_printed_as_python_prints_them() {
    let print = |value: f32| {
        let mut out = String::new();
        json::push_rounded(&mut out, value);
        out
    };
    // What `json.dumps(round(float(numpy.float32(x)), 8))` gives.
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (-0.153_814_8, "-0.15381479"),
        (0.000_1, "0.0001"),
        (0.000_012_34, "1.234e-05"),
        (1e-8, "1e-08"),
        (4e-9, "0.0"),
        (123_456.79, "123456.7890625"),
        (1e10, "10000000000.0"),
        (1e16, "1.0000000272564224e+16"),
        (f32::MAX, "3.4028234663852886e+38"),
        (f32::NAN, "NaN"),
        (f32::NEG_INFINITY, "-Infinity"),
    ];
    for (value, expected) in cases {
        assert_eq!(print(value), expected, "{value:e}");
    }
}

#[test]
fn strings_are_printed_as_python_prints_them() {
    let mut out = String::new();
    json::push_string(&mut out, "a\"b\\c\n\t\u{1}\u{7f}é😀");
    assert_eq!(out, "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\\u00e9\\ud83d\\ude00\"");
}

#[test]
fn layers_are_the_embedding_and_the_stream_after_each_block() {
    let names: Vec<_> = layer_points(3).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["hook_embed", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]);
    assert!(layer_points(0).is_empty());
}

#[test]
fn the_ending_tells_the_format() {
    assert_eq!(Format::of("a.h5".as_ref()).ok(), Some(Format::Hdf5));
    assert_eq!(Format::of("a.jsonl".as_ref()).ok(), Some(Format::Json));
    let error = Format::of("a.t7".as_ref()).expect_err("not a format");
    assert_eq!(error.to_string(), "ending of a NeuroX file: expected .hdf5, .h5, .json or .jsonl, got 'a.t7'");
}
