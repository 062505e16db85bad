//! Conditions on the labels of a row.

use regex::Regex;

use super::Row;
use crate::error::DataError;

/// A condition on the labels of a row.
///
/// | written | holds when |
/// |---|---|
/// | `upos=NOUN` | the label is this one |
/// | `upos=NOUN\|VERB` | the label is one of these |
/// | `Number=*` | there is a label |
/// | `upos!=NOUN` | `upos=NOUN` does not hold; so also when there is no label |
/// | `deprel~"^nsubj"` | the regular expression is found in the label |
/// | `a & b`, `a \| b`, `!a`, `( )` | and, or, not; `&` binds tighter than `\|` |
///
/// `form` is the word as written. Names and labels with spaces or any of `()&|!=~"` stand in double quotes.
///
/// ```
/// use nissl_data::{Expression, Row};
/// struct Dogs;
/// impl Row for Dogs {
///     fn form(&self) -> &str { "dogs" }
///     fn label(&self, column: &str) -> Option<&str> { (column == "upos").then_some("NOUN") }
/// }
/// assert!(Expression::parse("upos=NOUN|PROPN & !(form~ing$)")?.holds(&Dogs));
/// # Ok::<(), nissl_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Expression {
    root: Node,
    columns: Vec<String>,
}

#[derive(Clone, Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    AnyLabel { column: String },
    OneOf { column: String, labels: Vec<String> },
    Found { column: String, regex: Regex },
}

/// The word as written, where a column is expected.
const FORM: &str = "form";

/// Deepest nesting of brackets and negations.
const DEEPEST: usize = 64;

impl Expression {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`DataError::Expression`] with the place of the mistake, [`DataError::Pattern`] for a regular expression.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let mut parser = Parser { text, tokens: lex(text)?, next: 0, depth: 0, columns: Vec::new() };
        let root = parser.either()?;
        match parser.peek() {
            Token::End => Ok(Self { root, columns: parser.columns }),
            _ => Err(parser.fail("& or | or the end")),
        }
    }

    /// The columns that it asks for, in order of appearance, `form` left out.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether the row fulfils it.
    pub fn holds(&self, row: &dyn Row) -> bool {
        self.root.holds(row)
    }
}

impl Node {
    fn holds(&self, row: &dyn Row) -> bool {
        match self {
            Self::And(nodes) => nodes.iter().all(|node| node.holds(row)),
            Self::Or(nodes) => nodes.iter().any(|node| node.holds(row)),
            Self::Not(node) => !node.holds(row),
            Self::AnyLabel { column } => value(row, column).is_some(),
            Self::OneOf { column, labels } => value(row, column).is_some_and(|got| labels.iter().any(|l| l == got)),
            Self::Found { column, regex } => value(row, column).is_some_and(|got| regex.is_match(got)),
        }
    }
}

fn value<'a>(row: &'a dyn Row, column: &str) -> Option<&'a str> {
    if column == FORM { Some(row.form()) } else { row.label(column) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Equal,
    Differs,
    Matches,
    /// A bare `*`.
    Any,
    Text(String),
    End,
}

/// The tokens with their first byte; the last is [`Token::End`].
fn lex(text: &str) -> Result<Vec<(Token, usize)>, DataError> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '&' => Token::And,
            '|' => Token::Or,
            '=' => Token::Equal,
            '~' => Token::Matches,
            '!' => match chars.next_if(|&(_, c)| c == '=') {
                Some(_) => Token::Differs,
                None => Token::Not,
            },
            '"' => {
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => match chars.next_if(|&(_, c)| c == '"' || c == '\\') {
                            Some((_, c)) => quoted.push(c),
                            None => quoted.push('\\'),
                        },
                        Some((_, c)) => quoted.push(c),
                        None => return Err(fail(text, at, "a closing quote", "the end")),
                    }
                }
                Token::Text(quoted)
            }
            _ => {
                let mut end = at + c.len_utf8();
                while let Some((at, c)) = chars.next_if(|&(_, c)| !c.is_whitespace() && !"()&|=~!\"".contains(c)) {
                    end = at + c.len_utf8();
                }
                match &text[at..end] {
                    "*" => Token::Any,
                    bare => Token::Text(bare.to_owned()),
                }
            }
        };
        tokens.push((token, at));
    }
    tokens.push((Token::End, text.len()));
    Ok(tokens)
}

fn fail(text: &str, at: usize, expected: &str, got: &str) -> DataError {
    let at = text[..at].chars().count() + 1;
    DataError::Expression { text: text.to_owned(), at, expected: expected.to_owned(), got: got.to_owned() }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    columns: Vec<String>,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> &Token {
        self.tokens.get(self.next + by).map_or(&Token::End, |(token, _)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    fn take_text(&mut self) -> Option<String> {
        let Token::Text(text) = self.peek() else { return None };
        let text = text.clone();
        self.next += 1;
        Some(text)
    }

    /// The error that something else was expected at the next token.
    fn fail(&self, expected: &str) -> DataError {
        let at = self.tokens.get(self.next).map_or(self.text.len(), |(_, at)| *at);
        let end = self.tokens.get(self.next + 1).map_or(self.text.len(), |(_, at)| *at);
        let got = match self.peek() {
            Token::End => "the end".to_owned(),
            _ => crate::error::shown(self.text[at..end].trim_end()),
        };
        fail(self.text, at, expected, &got)
    }

    fn either(&mut self) -> Result<Node, DataError> {
        let mut nodes = vec![self.both()?];
        while self.take(&Token::Or) {
            nodes.push(self.both()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    fn both(&mut self) -> Result<Node, DataError> {
        let mut nodes = vec![self.operand()?];
        while self.take(&Token::And) {
            nodes.push(self.operand()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    fn operand(&mut self) -> Result<Node, DataError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fail("less nesting"));
        }
        let node = if self.take(&Token::Not) {
            Node::Not(Box::new(self.operand()?))
        } else if self.take(&Token::Open) {
            let node = self.either()?;
            if !self.take(&Token::Close) {
                return Err(self.fail("& or | or )"));
            }
            node
        } else {
            self.condition()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn condition(&mut self) -> Result<Node, DataError> {
        let column = self.take_text().ok_or_else(|| self.fail("a condition such as upos=NOUN"))?;
        if column != FORM && !self.columns.contains(&column) {
            self.columns.push(column.clone());
        }
        if self.take(&Token::Matches) {
            let pattern = self.take_text().ok_or_else(|| self.fail("a regular expression"))?;
            let regex =
                Regex::new(&pattern).map_err(|source| DataError::Pattern { pattern, source: Box::new(source) })?;
            return Ok(Node::Found { column, regex });
        }
        let differs = self.take(&Token::Differs);
        if !differs && !self.take(&Token::Equal) {
            return Err(self.fail("=, != or ~"));
        }
        let node = if self.take(&Token::Any) {
            Node::AnyLabel { column }
        } else {
            let mut labels = vec![self.take_text().ok_or_else(|| self.fail("a label"))?];
            while self.peek() == &Token::Or && self.label_follows() {
                self.next += 1;
                labels.extend(self.take_text());
            }
            Node::OneOf { column, labels }
        };
        Ok(if differs { Node::Not(Box::new(node)) } else { node })
    }

    /// Whether `|` is followed by another label and not by another condition.
    fn label_follows(&self) -> bool {
        matches!(self.ahead(1), Token::Text(_))
            && !matches!(self.ahead(2), Token::Equal | Token::Differs | Token::Matches)
    }
}
