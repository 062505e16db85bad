//! The toy grammar: `S → NP [PREP NP] VERB [“] NP [”] [ADV] .`, `NP → DET [ADJ] NOUN`, optional parts four times in
//! ten, the quotation marks both or neither.

use crate::random::Random;

/// Past forms of the verbs.
pub const PAST_FORMS: [&str; 4] = ["ate", "saw", "liked", "ran"];

/// Present forms of the verbs, singular and plural.
pub const PRESENT_FORMS: [&str; 8] = ["eats", "sees", "likes", "runs", "eat", "see", "like", "run"];

const PREPOSITIONS: [&str; 3] = ["in", "on", "with"];
const ADJECTIVES: [&str; 4] = ["big", "small", "red", "old"];
const ADVERBS: [&str; 4] = ["quickly", "often", "never", "very"];

/// Singular, plural, topic.
const NOUNS: [(&str, &str, Option<&str>); 8] = [
    ("dog", "dogs", None),
    ("cat", "cats", None),
    ("soup", "soups", Some("food")),
    ("bread", "breads", Some("food")),
    ("laptop", "laptops", Some("tech")),
    ("cable", "cables", Some("tech")),
    ("judge", "judges", None),
    ("law", "laws", None),
];

/// Probability of every optional part.
const OPTIONAL: f64 = 0.4;

/// A word and what the grammar knows of it.
pub(super) struct Token {
    pub(super) word: &'static str,
    pub(super) tag: &'static str,
    pub(super) number: Option<&'static str>,
    pub(super) tense: Option<&'static str>,
    pub(super) topic: Option<&'static str>,
    pub(super) quoted: bool,
}

impl Token {
    fn new(word: &'static str, tag: &'static str) -> Self {
        Self { word, tag, number: None, tense: None, topic: None, quoted: false }
    }
}

/// Draws a sentence.
pub(super) fn sentence(random: &mut Random) -> Vec<Token> {
    let mut tokens = noun_phrase(random);
    let subject_is_plural = tokens.iter().any(|token| token.number == Some("plural"));
    if random.chance(OPTIONAL) {
        tokens.push(Token::new(random.pick(&PREPOSITIONS), "PREP"));
        tokens.extend(noun_phrase(random));
    }
    tokens.push(verb(random, subject_is_plural));
    let quoted = random.chance(OPTIONAL);
    if quoted {
        tokens.push(Token::new("“", "PUNCT"));
    }
    tokens.extend(noun_phrase(random).into_iter().map(|token| Token { quoted, ..token }));
    if quoted {
        tokens.push(Token::new("”", "PUNCT"));
    }
    if random.chance(OPTIONAL) {
        tokens.push(Token::new(random.pick(&ADVERBS), "ADV"));
    }
    tokens.push(Token::new(".", "PUNCT"));
    tokens
}

fn noun_phrase(random: &mut Random) -> Vec<Token> {
    let determiner = match random.uniform() {
        u if u < 0.7 => "the",
        u if u < 0.9 => "a",
        _ => "some",
    };
    let mut tokens = vec![Token::new(determiner, "DET")];
    if random.chance(OPTIONAL) {
        tokens.push(Token::new(random.pick(&ADJECTIVES), "ADJ"));
    }
    let (singular, plural, topic) = random.pick(&NOUNS);
    let (word, number) = if random.chance(0.5) { (plural, "plural") } else { (singular, "singular") };
    tokens.push(Token { number: Some(number), topic, ..Token::new(word, "NOUN") });
    tokens
}

fn verb(random: &mut Random, subject_is_plural: bool) -> Token {
    let which = random.below(PAST_FORMS.len());
    let (word, tense) = if random.chance(0.5) {
        (PAST_FORMS[which], "past")
    } else {
        (PRESENT_FORMS[which + if subject_is_plural { 4 } else { 0 }], "present")
    };
    Token { tense: Some(tense), ..Token::new(word, "VERB") }
}
