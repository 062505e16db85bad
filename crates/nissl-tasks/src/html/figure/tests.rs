//! Figures show what they are given, in both formats, whatever the texts in them say.

use miniz_oxide::inflate::decompress_to_vec_zlib;

use super::*;

fn curve() -> Curve {
    let line = |name: &str, values: [f64; 4], half: f64| Line {
        name: name.to_owned(),
        points: [1.0, 10.0, 50.0, 100.0].into_iter().zip(values).collect(),
        bands: [1.0, 10.0, 50.0, 100.0]
            .into_iter()
            .zip(values)
            .filter(|_| half > 0.0)
            .map(|(x, value)| Band { x, low: value - half, high: value + half })
            .collect(),
    };
    Curve {
        title: "Accuracy".to_owned(),
        note: "made again by a command".to_owned(),
        x: "neurons".to_owned(),
        log_x: true,
        y: "balanced accuracy".to_owned(),
        lines: vec![line("probeless", [0.6, 0.8, 0.85, 0.9], 0.05), line("<b>\"random\"", [0.5, 0.55, 0.6, 0.7], 0.0)],
    }
}

fn grid() -> Grid {
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let row = |of: usize| (names[of].clone(), (0..3).map(|to| (to != of).then_some((of + to) as f64 / 4.0)).collect());
    Grid { title: "Overlap".to_owned(), note: String::new(), columns: names.clone(), rows: (0..3).map(row).collect() }
}

/// Width, height and rows of pixels.
fn decoded(png: &[u8]) -> (usize, usize, Vec<u8>) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (width, height) = (number(16), number(20));
    let mut at = 8;
    let mut kinds = Vec::new();
    let mut pixels = Vec::new();
    while at < png.len() {
        let (length, kind) = (number(at), &png[at + 4..at + 8]);
        kinds.push(String::from_utf8(kind.to_vec()).unwrap());
        if kind == b"IDAT" {
            pixels = decompress_to_vec_zlib(&png[at + 8..at + 8 + length]).unwrap();
        }
        at += length + 12;
    }
    assert_eq!(kinds, ["IHDR", "iTXt", "IDAT", "IEND"]);
    let rows = pixels.chunks_exact(width * 3 + 1).flat_map(|row| row[1..].to_vec()).collect::<Vec<u8>>();
    assert_eq!(rows.len(), width * height * 3);
    (width, height, rows)
}

#[test]
fn curves_have_their_lines_intervals_and_names_escaped() {
    let svg = curve().figure().svg();
    assert!(svg.contains("made again by a command") && svg.contains("&lt;b&gt;&quot;random&quot;"), "{svg}");
    assert!(!svg.contains("<b>"));
    assert_eq!(svg.matches("<polygon").count(), 1, "one line has intervals");
    for tick in [">1<", ">2<", ">5<", ">10<", ">100<", ">0.6<"] {
        assert!(svg.contains(tick), "{tick}: {svg}");
    }
}

#[test]
fn points_that_are_no_numbers_are_left_out_and_none_are_said_to_be_none() {
    let mut curve = curve();
    curve.lines[0].points[1].1 = f64::NAN;
    curve.lines[1].points[0].0 = 0.0;
    let svg = curve.figure().svg();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    assert!(Curve::default().figure().svg().contains("no points"));
    assert!(!Grid::default().figure().png().is_empty());
}

#[test]
fn pictures_have_the_colors_of_their_shapes_where_they_are() {
    let (width, height, pixels) = decoded(&curve().figure().png());
    assert_eq!((width, pixels.len() / 3 / width), (1520, height));
    let has = |pixels: &[u8], color: [u8; 3]| pixels.chunks_exact(3).filter(|pixel| **pixel == color).count();
    for color in [Color::Series(0), Color::Series(1), Color::Ink, Color::Faint] {
        assert!(has(&pixels, color.rgb()) > 50, "{color:?}");
    }
    let figure = grid().figure();
    let (width, _, pixels) = decoded(&figure.png());
    let boxes: Vec<_> = figure
        .shapes
        .iter()
        .filter_map(|shape| if let Shape::Box { at, color, .. } = shape { Some((*at, *color)) } else { None })
        .collect();
    assert_eq!(boxes.len(), 6, "three cells are empty");
    for ((x, y), color) in boxes {
        let place = ((y * 2.0) as usize + 4) * width + (x * 2.0) as usize + 4;
        assert_eq!(pixels[place * 3..place * 3 + 3], color.rgb(), "{x} {y}");
    }
    assert_eq!(figure.png(), grid().figure().png(), "the same bytes every time");
}

#[test]
fn the_lowest_value_is_the_palest() {
    let shades: Vec<f64> = grid()
        .figure()
        .shapes
        .iter()
        .filter_map(|shape| match shape {
            Shape::Box { color: Color::Heat(share), .. } => Some(*share),
            _ => None,
        })
        .collect();
    assert_eq!(shades, [0.0, 0.5, 0.0, 1.0, 0.5, 1.0]);
}
