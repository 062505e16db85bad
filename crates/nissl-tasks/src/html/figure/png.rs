//! Figures as PNG: pixels covered by shapes, and the file of them.

use miniz_oxide::deflate::compress_to_vec_zlib;

use super::glyphs::{strokes, unit, width};
use super::{Anchor, Figure, LETTERS, Shape};

/// Pixels of the picture for one of the figure.
const SCALE: f64 = 2.0;
/// Effort of the compression, 0 to 10.
const LEVEL: u8 = 6;
/// Width of the strokes of letters, in pixels of the figure.
const STROKE: f64 = 1.15;
/// How much of what is behind an area it covers.
const COVER: f64 = 0.25;

type Point = (f64, f64);

/// A picture as it is drawn, `[height][width]` pixels of red, green and blue.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

pub(super) fn png(figure: &Figure) -> Vec<u8> {
    let [width, height] = [figure.size.0, figure.size.1].map(|side| (side * SCALE).ceil().max(1.0) as usize);
    let mut canvas = Canvas { width, height, pixels: vec![255; width * height * 3] };
    for shape in &figure.shapes {
        canvas.draw(shape);
    }
    canvas.file(&format!("{}: {}", figure.title, figure.note))
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        let scaled = |points: &[Point]| points.iter().map(|(x, y)| (x * SCALE, y * SCALE)).collect::<Vec<Point>>();
        match shape {
            Shape::Line { points, color, width } => self.line(&scaled(points), width * SCALE, color.rgb()),
            Shape::Area { points, color } => self.area(&scaled(points), color.rgb(), COVER),
            Shape::Box { at: (x, y), size: (w, h), color } => {
                self.area(&scaled(&[(*x, *y), (x + w, *y), (x + w, y + h), (*x, y + h)]), color.rgb(), 1.0);
            }
            Shape::Text { at, text, anchor, color } => {
                let unit = unit(LETTERS);
                let share = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => 0.5,
                    Anchor::End => 1.0,
                };
                let left = at.0 - share * width(text) * unit;
                for stroke in strokes(text) {
                    let points: Vec<Point> = stroke.iter().map(|(x, y)| (left + x * unit, at.1 + y * unit)).collect();
                    self.line(&scaled(&points), STROKE * SCALE, color.rgb());
                }
            }
        }
    }

    /// Straight lines with round ends: each pixel is covered by how near it is to the nearest of them.
    fn line(&mut self, points: &[Point], width: f64, color: [u8; 3]) {
        let reach = width / 2.0 + 1.0;
        let (low, high) = points.iter().fold(((f64::MAX, f64::MAX), (f64::MIN, f64::MIN)), |(low, high), point| {
            ((low.0.min(point.0), low.1.min(point.1)), (high.0.max(point.0), high.1.max(point.1)))
        });
        for y in pixels(low.1 - reach, high.1 + reach, self.height) {
            // Only what comes near to this row is looked at.
            let center = y as f64 + 0.5;
            let near: Vec<(Point, Point)> = segments(points)
                .filter(|(a, b)| a.1.min(b.1) - reach <= center && center <= a.1.max(b.1) + reach)
                .collect();
            let ends = near
                .iter()
                .fold((f64::MAX, f64::MIN), |(from, to), (a, b)| (from.min(a.0.min(b.0)), to.max(a.0.max(b.0))));
            for x in pixels(ends.0 - reach, ends.1 + reach, self.width) {
                let at = (x as f64 + 0.5, center);
                let distance = near.iter().map(|&(a, b)| distance(at, a, b)).fold(f64::MAX, f64::min);
                self.cover(x, y, color, width / 2.0 + 0.5 - distance);
            }
        }
    }

    /// The inside of a polygon, the parts of pixels that it covers from left to right counted, of four rows a pixel.
    fn area(&mut self, points: &[Point], color: [u8; 3], cover: f64) {
        const ROWS: usize = 4;
        let highest = points.iter().fold(f64::MIN, |high, point| high.max(point.1));
        let lowest = points.iter().fold(f64::MAX, |low, point| low.min(point.1));
        let closed: Vec<Point> = points.iter().chain(points.first()).copied().collect();
        for y in pixels(lowest, highest, self.height) {
            let mut covered = vec![0.0; self.width];
            for row in 0..ROWS {
                let level = y as f64 + (row as f64 + 0.5) / ROWS as f64;
                let mut crossings: Vec<f64> = segments(&closed)
                    .filter(|(a, b)| (a.1 <= level) != (b.1 <= level))
                    .map(|(a, b)| a.0 + (level - a.1) / (b.1 - a.1) * (b.0 - a.0))
                    .collect();
                crossings.sort_by(f64::total_cmp);
                for inside in crossings.chunks_exact(2) {
                    for x in pixels(inside[0], inside[1], self.width) {
                        let part = inside[1].min(x as f64 + 1.0) - inside[0].max(x as f64);
                        covered[x] += part.max(0.0) / ROWS as f64;
                    }
                }
            }
            for (x, part) in covered.into_iter().enumerate() {
                self.cover(x, y, color, part * cover);
            }
        }
    }

    /// Covers a part of a pixel, 0 to 1.
    fn cover(&mut self, x: usize, y: usize, color: [u8; 3], part: f64) {
        let part = part.clamp(0.0, 1.0);
        if part > 0.0 {
            let at = (y * self.width + x) * 3;
            for (old, new) in self.pixels[at..at + 3].iter_mut().zip(color) {
                *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * part).round() as u8;
            }
        }
    }

    /// The file: a header, a text, the pixels row by row (none of them filtered), an end.
    fn file(&self, text: &str) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend((self.width as u32).to_be_bytes());
        header.extend((self.height as u32).to_be_bytes());
        // 8 bits a color, three colors, the only compression and filters there are, not interlaced.
        header.extend([8, 2, 0, 0, 0]);
        let rows = self.pixels.chunks_exact(self.width * 3).flat_map(|row| std::iter::once(&0).chain(row));
        let rows: Vec<u8> = rows.copied().collect();
        // International text: keyword, not compressed, no language, no translated keyword.
        let text = [b"Description\0\0\0\0\0", text.as_bytes()].concat();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let pixels = compress_to_vec_zlib(&rows, LEVEL);
        for (kind, data) in [(b"IHDR", &header), (b"iTXt", &text), (b"IDAT", &pixels), (b"IEND", &Vec::new())] {
            let body = [kind.as_slice(), data].concat();
            file.extend((data.len() as u32).to_be_bytes());
            file.extend(&body);
            file.extend(crc(&body).to_be_bytes());
        }
        file
    }
}

/// Pixels between two places, within the picture.
fn pixels(from: f64, to: f64, n: usize) -> std::ops::Range<usize> {
    (from.floor().max(0.0) as usize).min(n)..(to.ceil().max(0.0) as usize).min(n)
}

/// The lines from point to point; a point alone is one.
fn segments(points: &[Point]) -> impl Iterator<Item = (Point, Point)> {
    let alone = (points.len() == 1).then(|| (points[0], points[0]));
    points.windows(2).map(|pair| (pair[0], pair[1])).chain(alone)
}

/// From a place to the nearest one of a line.
fn distance(at: Point, a: Point, b: Point) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((at.0 - a.0) * dx + (at.1 - a.1) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (at.0 - a.0 - along * dx).hypot(at.1 - a.1 - along * dy)
}

/// The checksum of a part of the file: the remainder by the polynomial 0xedb88320, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_format() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b"IEND"), 0xae42_6082);
    }

    #[test]
    fn lines_and_boxes_cover_what_they_should() {
        let mut canvas = Canvas { width: 8, height: 8, pixels: vec![255; 192] };
        canvas.area(&[(1.0, 1.0), (3.5, 1.0), (3.5, 3.0), (1.0, 3.0)], [0, 0, 0], 1.0);
        let gray = |canvas: &Canvas, x: usize, y: usize| canvas.pixels[(y * 8 + x) * 3];
        assert_eq!([0, 1, 2, 3, 4].map(|x| gray(&canvas, x, 1)), [255, 0, 0, 128, 255]);
        assert_eq!([0, 1, 2, 3].map(|y| gray(&canvas, 1, y)), [255, 0, 0, 255]);
        canvas.line(&[(1.0, 6.5), (7.0, 6.5)], 1.0, [0, 0, 0]);
        assert_eq!([5, 6, 7].map(|y| gray(&canvas, 4, y)), [255, 0, 255]);
        canvas.line(&[(-100.0, -100.0), (100.0, 900.0)], 3.0, [0, 0, 0]);
    }
}
