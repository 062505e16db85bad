//! A sheet to rate: contexts with two buttons each, and the ratings as a table.

use super::markup::{Markup, esc};

/// A sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SheetPage {
    /// The heading.
    pub title: String,
    /// Names of the columns of the table that the page gives back: three of a row, then the rating.
    pub columns: [String; 4],
    /// What is rated.
    pub rows: Vec<SheetRow>,
}

/// A context to rate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SheetRow {
    /// Its number.
    pub item: String,
    /// What the word in brackets should be.
    pub explanation: String,
    /// The text.
    pub context: String,
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:860px;\
margin:2em auto;padding:0 1em}li{margin:1em 0;padding:.6em;border:1px solid #8884;border-radius:6px}\
.why{opacity:.7}label{margin-right:1.5em}button{font:inherit;padding:.4em 1em}";

/// Nothing is sent: the ratings become a file that the browser saves.
const SCRIPT: &str = "const quoted=text=>'\"'+text.replaceAll('\"','\"\"')+'\"';\
document.getElementById('save').addEventListener('click',()=>{const rows=[...document.querySelectorAll('li')];\
const left=rows.filter(row=>!row.querySelector('input:checked'));\
document.getElementById('left').textContent=left.length?left.length+' are not rated yet':'';\
if(left.length){left[0].scrollIntoView();return}\
const fields=rows.map(row=>[row.dataset.item,row.querySelector('.why').textContent,\
row.querySelector('.text').textContent,row.querySelector('input:checked').value]);\
const heads=document.body.dataset.columns.split(' ');\
const csv=[heads,...fields].map(row=>row.map(quoted).join(',')).join('\\n')+'\\n';\
const link=document.createElement('a');link.href='data:text/csv;charset=utf-8,'+encodeURIComponent(csv);\
link.download='ratings.csv';link.click()});";

/// Draws the page: nothing is loaded or sent, and all texts are escaped.
pub fn render_sheet(page: &SheetPage) -> String {
    let mut out = Markup::default();
    out.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.add(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n",
    );
    out.add(format_args!("<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n", esc(&page.title)));
    out.add(format_args!("<body data-columns=\"{}\">\n<h1>{}</h1>\n", esc(&page.columns.join(" ")), esc(&page.title)));
    out.add("<p>Does the word in brackets fit what is said below it? Go by what it means where it stands.</p>\n<ol>\n");
    for row in &page.rows {
        out.add(format_args!(
            "<li data-item=\"{0}\"><div class=\"text\">{1}</div>\n<div class=\"why\">{2}</div>\n\
             <label><input type=\"radio\" name=\"r{0}\" value=\"yes\"> fits</label>\
             <label><input type=\"radio\" name=\"r{0}\" value=\"no\"> does not fit</label></li>\n",
            esc(&row.item),
            esc(&row.context),
            esc(&row.explanation),
        ));
    }
    out.add("</ol>\n<p><button id=\"save\">Save the ratings</button> <span id=\"left\"></span></p>\n");
    out.add(format_args!("<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    out.text()
}
