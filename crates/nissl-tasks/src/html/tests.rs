//! The page is well formed, shows hostile text as text, loads nothing, and its links lead somewhere.

use std::collections::BTreeSet;
use std::process::Command as Process;

use super::*;

/// A text that would do harm if it were not escaped.
const HOSTILE: &str = "</style><script>alert('1')</script>\"'&<img src=x onerror=alert(2)>\u{202e}\u{0}";

/// A page with every part, in which every text is `text`.
fn page(text: &str) -> Page {
    let text = || text.to_owned();
    let neuron = |name: &str| name.parse::<NeuronId>().expect("a name that nissl prints");
    let ids = [neuron("blocks.0.mlp.hook_post[3]"), neuron("blocks.1.hook_resid_post[12]")];
    let best = |i: usize, score| Best { neuron: ids[i], score, rises: [None, Some(true), Some(false)][i] };
    let heat = |scale| HeatMap {
        scale,
        rows: vec![
            HeatRow { name: text(), cells: vec![Some(best(0, 0.25)), Some(best(0, 0.5))] },
            HeatRow { name: text(), cells: vec![Some(best(1, 0.75)), None] },
        ],
    };
    let method = |scale| MethodResult {
        name: text(),
        summary: text(),
        heat: heat(scale),
        best: vec![vec![best(1, 0.75), best(0, 0.25)], Vec::new()],
    };
    let word = |activation| PassageWord { before: text(), text: text(), activation };
    let passage = || Passage {
        source: text(),
        words: vec![word(Some(0.1)), word(None), word(Some(3.0)), word(Some(-3.0))],
        at: 2,
    };
    let card = |neuron, concept| NeuronCard {
        neuron,
        mean: 0.0,
        std: 1.0,
        min: -3.0,
        max: 3.0,
        histogram: Histogram { from: -3.0, to: 3.0, all: vec![1, 5, 9, 2], concept },
        concepts: vec![ConceptScore { method: 0, concept: 1, score: 0.5, rank: 0 }],
        words: vec![Word { text: text(), score: 1.0, deviation: -2.5, count: 12_345 }],
        top: vec![passage()],
        bottom: vec![passage()],
    };
    Page {
        title: text(),
        lead: text(),
        facts: vec![FactGroup { name: text(), facts: vec![Fact { name: text(), value: text() }] }],
        concepts: vec![
            Concept { name: text(), source: text(), n_rows: 10, share: 0.1 },
            Concept { name: text(), source: text(), n_rows: 0, share: 0.0 },
        ],
        methods: vec![method(Scale::PerConcept), method(Scale::Fixed { from: 0.0, to: 1.0 })],
        neurons: vec![card(ids[0], Some((0, vec![0, 0, 3, 2]))), card(ids[1], None)],
        commands: vec![Command { what: text(), line: text() }],
        notes: vec![text()],
    }
}

/// An element's start: its name and its attributes.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
}

/// Reads the page as a browser would, and fails at the first thing that is not strictly right: an element that is not
/// closed where it should be, an attribute without quotes, a stray `<`.
fn elements(html: &str) -> Vec<Element> {
    let mut rest = html.strip_prefix("<!doctype html>").expect("a document type");
    let (mut found, mut open) = (Vec::new(), Vec::<String>::new());
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = tag_end(rest);
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}> closes another element");
            continue;
        }
        let element = element(tag.trim_end_matches('/'));
        let void = ["meta", "br"].contains(&element.name.as_str()) || tag.ends_with('/');
        if !void {
            open.push(element.name.clone());
        }
        if element.name == "style" || element.name == "script" {
            rest = &rest[rest.find(&format!("</{}", element.name)).expect("raw text is closed")..];
        }
        found.push(element);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    found
}

/// Where a tag ends: the first `>` outside quotes.
fn tag_end(text: &str) -> usize {
    let mut quoted = false;
    text.find(|c| {
        quoted ^= c == '"';
        c == '>' && !quoted
    })
    .expect("a tag has an end")
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "<{tag}> is no element");
    let mut attributes = Vec::new();
    while !rest.trim_start().is_empty() {
        let (key, value) = rest.trim_start().split_once("=\"").unwrap_or_else(|| panic!("no quotes in <{tag}>"));
        let (value, after) = value.split_once('"').expect("a quoted value ends");
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{key:?} in <{tag}>");
        assert!(!value.contains('<'), "{value:?} in <{tag}>");
        attributes.push((key.to_owned(), value.to_owned()));
        rest = after;
    }
    Element { name: name.to_owned(), attributes }
}

fn values<'a>(elements: &'a [Element], key: &str) -> Vec<&'a str> {
    let attributes = elements.iter().flat_map(|element| &element.attributes);
    attributes.filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_page_is_well_formed_with_any_text() {
    for text in ["", "noun", "a  b\n", "Père \u{1f642} \u{5e9}\u{5dc}", HOSTILE] {
        assert!(elements(&render(&page(text))).len() > 150, "{text:?}");
    }
    assert!(elements(&render(&Page::default())).len() > 10);
}

#[test]
fn hostile_text_adds_no_element_and_no_attribute() {
    let names = |text| -> Vec<String> { elements(&render(&page(text))).into_iter().map(|e| e.name).collect() };
    assert_eq!(names(HOSTILE), names("noun"));
    let html = render(&page(HOSTILE));
    assert_eq!(html.matches("<script>").count(), 1, "only the page's own script");
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)"), "the text is shown as text");
    assert!(!html.contains(['\0', '\u{202e}']), "no control characters, no reversed writing");
    assert!(values(&elements(&html), "onerror").is_empty());
}

#[test]
fn the_page_loads_nothing() {
    let html = render(&page("noun"));
    for request in ["http:", "https:", "//cdn", "@import", "url(", "<link", "<img", "<iframe", "fetch(", "XMLHttp"] {
        assert!(!html.contains(request), "{request}");
    }
    let elements = elements(&html);
    assert!(values(&elements, "src").is_empty());
    assert!(values(&elements, "href").iter().all(|link| link.starts_with('#')));
    assert!(values(&elements, "content").iter().any(|policy| policy.starts_with("default-src 'none'")));
}

#[test]
fn every_neuron_has_an_anchor_and_every_link_leads_somewhere() {
    let html = elements(&render(&page("noun")));
    let ids = values(&html, "id");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "ids are unique");
    for anchor in ["n-blocks-0-mlp-hook_post-3", "n-blocks-1-hook_resid_post-12", "c-0", "c-1"] {
        assert!(unique.contains(anchor), "{anchor}");
    }
    for link in values(&html, "href") {
        assert!(unique.contains(link.trim_start_matches('#')), "{link} leads nowhere");
    }
    for label in values(&html, "aria-labelledby") {
        assert!(unique.contains(label), "{label} is no id");
    }
}

#[test]
fn the_heat_map_frames_the_best_site_of_each_concept_and_writes_every_score() {
    let html = render(&page("noun"));
    let pictures: Vec<&str> = html.split("<svg class=\"heat\"").skip(1).collect();
    assert_eq!(pictures.len(), 2, "one a method");
    let picture = pictures[0].split("</svg>").next().expect("an end");
    assert_eq!(picture.matches(" win\"").count(), 2, "one a concept");
    // Each concept by itself: 0.75 is the highest of the first, and the only score of the second is its highest too.
    assert!(picture.contains("<g class=\"h9 win\">") && picture.contains("<g class=\"h0\">"), "{picture}");
    for score in [">0.250<", ">0.750<", ">0.500<"] {
        assert!(picture.contains(score), "{score}");
    }
    let fixed = pictures[1].split("</svg>").next().expect("an end");
    assert!(fixed.contains("<g class=\"h7 win\">"), "from 0 to 1, 0.75 is the seventh of nine: {fixed}");
}

#[test]
fn a_sentence_tells_each_activation_and_marks_the_word_it_is_shown_for() {
    let html = render(&page("noun"));
    let passage = html.split("<p class=\"passage\"").nth(1).expect("a passage");
    assert!(passage.contains("<mark class=\"w p4\" data-a=\"3.00\">noun<sup>3.00</sup></mark>"), "{passage}");
    assert!(passage.contains("<span class=\"w\" data-a=\"0.100\">noun</span>"), "near the mean: no color");
    assert!(passage.contains("<span class=\"w m4\" data-a=\"\u{2212}3.00\">noun</span>"), "below the mean");
}

#[test]
fn a_sentence_that_is_shown_for_two_words_stands_once_with_both_marked() {
    let mut page = page("noun");
    let mut second = page.neurons[0].top[0].clone();
    second.at = 0;
    page.neurons[0].top.push(second);
    let html = render(&page);
    let list =
        html.split("<ol class=\"passages\">").nth(1).and_then(|rest| rest.split("</ol>").next()).expect("a list");
    assert_eq!((list.matches("<li>").count(), list.matches("<mark").count()), (1, 2), "{list}");
}

#[test]
fn a_neuron_names_the_concepts_that_it_is_near_to_and_at_least_one() {
    let mut page = page("noun");
    let score = |rank| ConceptScore { method: 0, concept: 1, score: 0.5, rank };
    let chips = |page: &Page| render(page).matches("<li><a href=\"#c-1\"><b>").count();
    page.neurons.truncate(1);
    for (ranks, named) in [(&[0, 49, 50][..], 2), (&[700, 800], 1), (&[700, 3], 2), (&[], 0)] {
        page.neurons[0].concepts = ranks.iter().map(|&rank| score(rank)).collect();
        assert_eq!(chips(&page), named, "{ranks:?}");
    }
}

#[test]
fn words_that_were_not_counted_are_not_shown_as_none() {
    let mut page = page("noun");
    assert!(render(&page).contains("<th scope=\"col\" class=\"n\">words</th>"));
    page.concepts[0].n_rows = 0;
    assert!(!render(&page).contains("<th scope=\"col\" class=\"n\">words</th>"));
}

#[test]
fn values_that_are_no_numbers_are_said_to_be_none() {
    let mut page = page("noun");
    page.methods[0].best[0][0].score = f32::NAN;
    page.methods[0].heat.rows[0].cells[0].as_mut().expect("a cell").score = f32::INFINITY;
    page.neurons[0].mean = f64::NAN;
    page.neurons[0].max = f32::NAN;
    page.neurons[0].histogram = Histogram { from: f32::NAN, to: f32::NAN, all: vec![0, 0], concept: Some((9, vec![])) };
    let html = render(&page);
    elements(&html);
    assert!(html.contains("n/a") && !html.contains("NaN") && !html.contains("inf%"), "numbers that are none");
}

#[test]
fn indices_out_of_range_are_left_out() {
    let mut page = page("noun");
    page.methods[0].best.clear();
    page.methods[0].heat.rows[0].cells.clear();
    page.neurons[0].concepts = vec![ConceptScore { method: 7, concept: 7, score: 1.0, rank: 0 }];
    page.neurons[0].top[0].at = 99;
    elements(&render(&page));
}

#[test]
fn numbers_have_three_digits_and_counts_their_thousands_apart() {
    let cases = [
        (0.0, "0"),
        (0.913_4, "0.913"),
        (0.999_9, "1.00"),
        (9.996, "10.0"),
        (-12.44, "\u{2212}12.4"),
        (99.96, "100"),
        (1870.2, "1870"),
        (2.14e-5, "2.1e\u{2212}5"),
        (3.2e7, "3.2e7"),
    ];
    for (value, shown) in cases {
        assert_eq!(markup::number(value), shown, "{value}");
    }
    assert_eq!(markup::count(1_234_567), "1\u{2009}234\u{2009}567");
    assert_eq!(markup::percent(0.0421), "4.2%");
    assert_eq!(markup::percent(0.000_2), "<0.1%");
}

#[test]
fn a_page_survives_being_saved() {
    let page = page(HOSTILE);
    let saved = serde_json::to_string(&page).expect("a page can be saved");
    assert_eq!(serde_json::from_str::<Page>(&saved).expect("and read back"), page);
}

/// Runs where `NISSL_BROWSER` names a browser, as `cargo xtask ci` does.
#[test]
fn a_browser_runs_the_script_and_finds_no_fault() {
    let Some(browser) = std::env::var_os("NISSL_BROWSER") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("page.html");
    std::fs::write(&file, render(&page(HOSTILE))).expect("the page can be written");
    let output = Process::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    let page = String::from_utf8_lossy(&output.stdout);
    let dom = page.split("<script>").next().unwrap_or_default();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(dom.contains("class=\"scripted\""), "the script ran:\n{log}");
    assert_eq!(dom.matches("role=\"tab\"").count(), 4, "two methods in two sections");
    assert_eq!(dom.matches("role=\"tabpanel\" hidden").count(), 2, "one method is shown in each");
    assert!(!log.contains("Uncaught") && !log.contains("Refused to"), "the console has errors:\n{log}");
}
