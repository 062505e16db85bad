//! Colored text as a page and as a picture.

use super::markup::{Markup, esc, number};
use crate::tasks::view::{View, Word};

/// Characters of a line of a picture.
const LINE: usize = 96;

/// Width of a character and height of a line of a picture, in pixels.
const CHARACTER: f64 = 8.4;
const HEIGHT: f64 = 22.0;

/// The background of a word: red above, blue below, white for nothing.
fn color(share: f32) -> String {
    let strength = share.abs().clamp(0.0, 1.0);
    let full = if share > 0.0 { [214.0, 69.0, 60.0] } else { [58.0, 104.0, 200.0] };
    let [r, g, b] = full.map(|full: f32| (255.0 + (full - 255.0) * strength).round() as u8);
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// What a word says when it is pointed at.
fn title(word: &Word) -> String {
    word.value.map_or_else(|| "no value".to_owned(), |value| number(f64::from(value)))
}

/// What is said of a view below its name.
fn note(view: &View) -> String {
    let stats = &view.stats;
    if view.dead {
        return format!("the same value everywhere: {}", number(f64::from(stats.mean)));
    }
    let [mean, std, min, max] = [stats.mean, stats.std, stats.min, stats.max].map(|value| number(f64::from(value)));
    format!("{} values from {min} to {max}, mean {mean}, std {std}", stats.rows)
}

/// A page with all views, which loads nothing and runs nothing.
pub(crate) fn render_views(views: &[View]) -> String {
    let mut out = Markup::default();
    out.add(concat!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Colored text</title>\n<style>\n",
        "body { font: 16px/1.7 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }\n",
        "p.note, cite { color: #666; font-size: 0.85rem; font-style: normal; }\n",
        "mark { color: #141414; border-radius: 2px; padding: 1px 0; }\n</style>\n</head>\n<body>\n",
    ));
    for view in views {
        out.add(format_args!("<h1>{}</h1>\n<p class=\"note\">{}</p>\n", esc(&view.name), esc(&note(view))));
        for sentence in &view.sentences {
            out.add("<p dir=\"auto\">");
            for word in &sentence.words {
                let (color, title) = (color(word.share), title(word));
                out.add(format_args!("{}<mark style=\"background:{color}\" title=\"{title}\">", esc(&word.before)));
                out.add(format_args!("{}</mark>", esc(&word.name)));
            }
            out.add(format_args!(" <cite>{}</cite></p>\n", esc(&sentence.name)));
        }
    }
    out.add("</body>\n</html>\n");
    out.text()
}

/// A picture of all views, in lines of a fixed width.
pub(crate) fn draw_views(views: &[View]) -> String {
    let mut body = Markup::default();
    let mut line = 0_usize;
    let baseline = |line: usize| HEIGHT * (line as f64 + 1.0);
    for view in views {
        body.add(format_args!(
            "<text x=\"8\" y=\"{:.1}\" font-weight=\"bold\">{}</text>\n",
            baseline(line),
            esc(&view.name)
        ));
        body.add(format_args!(
            "<text x=\"8\" y=\"{:.1}\" fill=\"#666\">{}</text>\n",
            baseline(line + 1),
            esc(&note(view))
        ));
        line += 2;
        for sentence in &view.sentences {
            let mut column = 0;
            for word in &sentence.words {
                let before = if column == 0 { 0 } else { word.before.chars().count() };
                let width = word.name.chars().count();
                if column > 0 && column + before + width > LINE {
                    line += 1;
                    column = 0;
                } else {
                    column += before;
                }
                let (x, y) = (8.0 + column as f64 * CHARACTER, baseline(line));
                let (length, color) = (width as f64 * CHARACTER, color(word.share));
                body.add(format_args!(
                    "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{color}\"/>",
                    y - 15.0,
                    HEIGHT - 3.0,
                ));
                body.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\">"));
                body.add(format_args!("<title>{}</title>{}</text>\n", title(word), esc(&word.name)));
                column += width;
            }
            line += 1;
        }
        line += 1;
    }
    let (width, height) = (16.0 + LINE as f64 * CHARACTER, baseline(line));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"monospace\" font-size=\"14\" xml:space=\"preserve\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
        body.text()
    )
}
