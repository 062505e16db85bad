//! Letters as strokes, for pictures that have no fonts: points on a grid of four by six, with the descenders below.

/// The strokes of each character from the blank to the tilde: points as two digits, column and row from the top left;
/// row 6 is the line that letters stand on. Strokes are told apart by blanks between.
const GLYPHS: [&str; 95] = [
    "",                                                // blank
    "00-04 06",                                        // !
    "00-01 20-21",                                     // "
    "11-15 31-35 02-42 04-44",                         // #
    "32-12-03-14-24-35-26-06 21-27",                   // $
    "06-40 00-10-11-01-00 35-45-46-36-35",             // %
    "46-02-01-10-21-22-04-05-16-26-44",                // &
    "00-01",                                           // '
    "20-11-15-26",                                     // (
    "00-11-15-06",                                     // )
    "02-24 04-22 11-15",                               // *
    "03-43 21-25",                                     // +
    "15-07",                                           // ,
    "03-33",                                           // -
    "06",                                              // .
    "06-30",                                           // /
    "10-20-31-35-26-16-05-01-10",                      // 0
    "01-10-16",                                        // 1
    "01-10-20-31-32-06-36",                            // 2
    "01-10-20-31-32-23-13 23-34-35-26-16-05",          // 3
    "26-20-04-34",                                     // 4
    "30-00-02-22-33-35-26-06",                         // 5
    "30-10-01-05-16-26-35-34-23-03",                   // 6
    "00-30-16",                                        // 7
    "13-02-01-10-20-31-32-23-13-04-05-16-26-35-34-23", // 8
    "06-26-35-31-20-10-01-02-13-33",                   // 9
    "03 06",                                           // :
    "13 15-07",                                        // ;
    "31-03-35",                                        // <
    "02-32 04-34",                                     // =
    "01-33-05",                                        // >
    "01-10-20-31-32-14 16",                            // ?
    "34-24-13-22-33-34-44-41-30-10-01-05-16-36",       // @
    "06-20-46 14-34",                                  // A
    "03-33-42-41-30-00-06-36-45-44-33",                // B
    "41-30-10-01-05-16-36-45",                         // C
    "00-06-26-44-42-20-00",                            // D
    "40-00-06-46 03-33",                               // E
    "40-00-06 03-33",                                  // F
    "41-30-10-01-05-16-36-45-43-23",                   // G
    "00-06 40-46 03-43",                               // H
    "00-06",                                           // I
    "30-35-26-16-05",                                  // J
    "00-06 40-03-46",                                  // K
    "00-06-46",                                        // L
    "06-00-23-40-46",                                  // M
    "06-00-46-40",                                     // N
    "10-30-41-45-36-16-05-01-10",                      // O
    "06-00-30-41-42-33-03",                            // P
    "10-30-41-45-36-16-05-01-10 24-46",                // Q
    "06-00-30-41-42-33-03 23-46",                      // R
    "41-30-10-01-02-13-33-44-45-36-16-05",             // S
    "00-40 20-26",                                     // T
    "00-05-16-36-45-40",                               // U
    "00-26-40",                                        // V
    "00-16-22-36-40",                                  // W
    "00-46 40-06",                                     // X
    "00-23-40 23-26",                                  // Y
    "00-40-06-46",                                     // Z
    "20-00-07-27",                                     // [
    "00-36",                                           // backslash
    "00-20-27-07",                                     // ]
    "02-10-22",                                        // ^
    "07-37",                                           // _
    "00-11",                                           // `
    "03-12-22-33-36 34-14-05-16-26-35",                // a
    "00-06 03-12-22-33-35-26-16-05",                   // b
    "33-22-12-03-05-16-26-35",                         // c
    "30-36 33-22-12-03-05-16-26-35",                   // d
    "04-34-33-22-12-03-05-16-26-35",                   // e
    "20-11-16 02-22",                                  // f
    "32-37-28-18-07 33-22-12-03-05-16-26-35",          // g
    "00-06 03-12-22-33-36",                            // h
    "02-06 00",                                        // i
    "12-17-08 10",                                     // j
    "00-06 32-04-36",                                  // k
    "00-06",                                           // l
    "02-06 03-12-23-26 23-32-43-46",                   // m
    "02-06 03-12-22-33-36",                            // n
    "12-22-33-35-26-16-05-03-12",                      // o
    "02-08 03-12-22-33-35-26-16-05",                   // p
    "32-38 33-22-12-03-05-16-26-35",                   // q
    "02-06 03-12-22",                                  // r
    "32-12-03-14-24-35-26-06",                         // s
    "10-15-26 02-22",                                  // t
    "02-05-16-26-35 32-36",                            // u
    "02-16-22",                                        // v
    "02-16-23-36-42",                                  // w
    "02-36 32-06",                                     // x
    "02-16-22 16-08",                                  // y
    "02-32-06-36",                                     // z
    "20-11-12-03-14-15-26",                            // {
    "00-07",                                           // |
    "00-11-12-23-14-15-06",                            // }
    "03-12-24-33",                                     // ~
];

/// What stands for every other character.
const OTHER: &str = "00-30-36-06-00";
/// Grid columns between two characters.
const GAP: f64 = 1.7;
/// Grid columns that a blank takes.
const BLANK: f64 = 2.0;
/// Row that letters stand on.
const BASE: f64 = 6.0;

type Point = (f64, f64);

/// Pixels of a step of the grid where letters have a size.
pub(super) fn unit(size: f64) -> f64 {
    size * 0.12
}

/// How wide a text is, in steps of the grid.
pub(super) fn width(text: &str) -> f64 {
    let sum: f64 = text.chars().map(|c| own_width(glyph(c)) + GAP).sum();
    (sum - GAP).max(0.0)
}

/// The strokes of a text, in steps of the grid from its beginning and from the line that it stands on.
pub(super) fn strokes(text: &str) -> Vec<Vec<Point>> {
    let (mut all, mut left) = (Vec::new(), 0.0);
    for c in text.chars() {
        let glyph = glyph(c);
        for stroke in glyph.split_whitespace() {
            all.push(points(stroke).map(|(x, y)| (left + x, y - BASE)).collect());
        }
        left += own_width(glyph) + GAP;
    }
    all
}

fn glyph(c: char) -> &'static str {
    let place = (c as usize).checked_sub(usize::from(b' '));
    place.and_then(|place| GLYPHS.get(place)).copied().unwrap_or(OTHER)
}

fn own_width(glyph: &str) -> f64 {
    if glyph.is_empty() {
        return BLANK;
    }
    glyph.split_whitespace().flat_map(points).map(|(x, _)| x).fold(0.0, f64::max)
}

fn points(stroke: &str) -> impl Iterator<Item = Point> {
    let digit = |byte: u8| f64::from(byte - b'0');
    stroke.split('-').map(move |point| (digit(point.as_bytes()[0]), digit(point.as_bytes()[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_strokes_on_the_grid_and_no_two_the_same() {
        for (place, glyph) in GLYPHS.iter().enumerate().skip(1) {
            let all: Vec<Point> = glyph.split_whitespace().flat_map(points).collect();
            assert!(!all.is_empty() && all.iter().all(|&(x, y)| x <= 4.0 && y <= 8.0), "{place}");
        }
        let twins = (0..95).flat_map(|a| (a + 1..95).map(move |b| (a, b))).filter(|&(a, b)| GLYPHS[a] == GLYPHS[b]);
        let twins: Vec<String> =
            twins.map(|(a, b)| format!("{}{}", (a as u8 + 32) as char, (b as u8 + 32) as char)).collect();
        assert_eq!(twins, ["Il"], "as in many fonts");
    }

    #[test]
    fn a_text_is_as_wide_as_its_characters_and_the_gaps_between() {
        assert!((width("T") - 4.0).abs() < 1e-9 && (width("TT") - (8.0 + GAP)).abs() < 1e-9);
        assert!(width("").abs() < 1e-9 && strokes("").is_empty());
        assert_eq!(strokes("é").len(), 1, "a box");
        assert!(strokes("Tp").iter().flatten().all(|&(_, y)| (-6.0..=2.0).contains(&y)));
    }
}
