//! A language model behind an endpoint of chat completions on the user's side.

use std::time::Duration;

use nissl_core::{NeuronId, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Agent;

use super::{Answer, Excerpt, Item, Judge, Known, Question};
use crate::error::TaskError;
use crate::tasks::judge::Config;

#[cfg(test)]
mod tests;

/// Where the model answers, and how it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// The address before `/chat/completions`: `http://localhost:8080/v1`; none is asked if `None`.
    pub url: Option<String>,
    /// The model's name there.
    pub model: String,
    /// The environment variable with the key, which is sent if it is set and stands in no report.
    pub key_variable: String,
    /// Seconds for an answer.
    pub seconds: u64,
    /// Texts that are judged together, where an answer is one number.
    pub together: usize,
}

impl Default for Endpoint {
    fn default() -> Self {
        let key_variable = "NISSL_API_KEY".to_owned();
        Self { url: None, model: String::new(), key_variable, seconds: 120, together: 5 }
    }
}

struct Client<'a> {
    asked: &'a Endpoint,
    url: String,
    key: Option<String>,
    agent: Agent,
}

/// Why a text came back without an answer.
enum Refusal {
    /// This one; others may do.
    One(String),
    /// All of them.
    All(TaskError),
}

pub(super) fn judge<'a>(config: &'a Config, _known: &'a Known<'a>) -> Option<Result<Box<dyn Judge + 'a>, TaskError>> {
    let asked = &config.endpoint;
    asked.url.as_ref().map(|url| Ok(Box::new(client(asked, url)?) as Box<dyn Judge>))
}

fn client<'a>(asked: &'a Endpoint, url: &str) -> Result<Client<'a>, TaskError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let plain = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '?', '#']));
    if !plain {
        // What stands in the address may be a secret: it is not repeated.
        let expected = "http:// or https:// and an address without user, password or query: the key comes from the \
                        environment";
        return Err(TaskError::config("url", expected, "another address"));
    }
    if asked.together == 0 {
        return Err(TaskError::config("together", "at least 1", "0"));
    }
    let timeout = Some(Duration::from_secs(asked.seconds.max(1)));
    let agent = Agent::config_builder().timeout_global(timeout).http_status_as_error(false).build().into();
    let key = std::env::var(&asked.key_variable).ok().filter(|key| !key.is_empty());
    Ok(Client { asked, url: format!("{}/chat/completions", url.trim_end_matches('/')), key, agent })
}

const SYSTEM: &str = "You judge what makes one neuron of a language model fire. Go by the explanation that you are given \
                      and by nothing else. Answer in the form that is asked for, with nothing around it.";

impl Client<'_> {
    /// What the model answers.
    fn ask(&self, prompt: &str) -> Result<String, Refusal> {
        let messages = json!([{ "role": "system", "content": SYSTEM }, { "role": "user", "content": prompt }]);
        let body = json!({ "model": self.asked.model, "messages": messages, "temperature": 0 }).to_string();
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let failed = |err: ureq::Error| match err {
            ureq::Error::Timeout(_) => Refusal::One(format!("no answer within {} s", self.asked.seconds)),
            err => Refusal::All(self.error(err.to_string())),
        };
        let mut response = request.send(body.as_bytes()).map_err(failed)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(failed)?;
        if !status.is_success() {
            let why = self.without_key(&format!("status {}: {}", status.as_u16(), start(&text)));
            // The server may do better with the next text; what the client did wrong it will do again.
            let passes = status.is_server_error() || status.as_u16() == 429;
            return Err(if passes { Refusal::One(why) } else { Refusal::All(self.error(why)) });
        }
        let answer: Value = serde_json::from_str(&text)
            .map_err(|_| Refusal::One(format!("an answer that is no JSON: {}", self.without_key(start(&text)))))?;
        let content = answer.pointer("/choices/0/message/content").and_then(Value::as_str);
        content.map(str::to_owned).ok_or_else(|| {
            Refusal::One(format!("an answer without choices[0].message.content: {}", self.without_key(start(&text))))
        })
    }

    fn error(&self, what: String) -> TaskError {
        TaskError::Endpoint { url: self.url.clone(), what }
    }

    /// What a server says may repeat the key.
    fn without_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| text.replace(key.as_str(), "[key]"))
    }

    /// The answers of items that are asked of together.
    fn together(&self, items: &[Item]) -> Result<Vec<Answer>, TaskError> {
        let told = match self.ask(&prompt(items)) {
            Ok(content) => numbers(&content).and_then(|numbers| split(items, &numbers)),
            Err(Refusal::One(why)) => Err(why),
            Err(Refusal::All(err)) => return Err(err),
        };
        Ok(match told {
            Ok(answers) => answers,
            Err(why) => items.iter().map(|_| Err(why.clone())).collect(),
        })
    }
}

/// The beginning of a text, in one line.
fn start(text: &str) -> &str {
    let end = text.char_indices().map(|(at, _)| at).nth(200).unwrap_or(text.len());
    text[..end].trim()
}

/// The prompt of items with one question and one explanation.
fn prompt(items: &[Item]) -> String {
    let item = &items[0];
    let explanation = &item.explanation;
    let list = |text: fn(&Item) -> String| {
        let lines = items.iter().enumerate().map(|(idx, item)| format!("{}. {}", idx + 1, text(item)));
        lines.collect::<Vec<_>>().join("\n")
    };
    let n = items.len();
    match item.question {
        Question::Simulation => {
            let (n, words) = (item.words.len(), json!(item.words));
            format!(
                "The neuron fires on: {explanation}\nHow active is it on each word of this text, from 0 (not at all) to \
                 10 (as active as it can be)? On most words of most texts it is not active. Answer with a JSON list of \
                 {n} numbers, one a word.\n{words}"
            )
        }
        Question::Detection => format!(
            "The neuron fires on: {explanation}\nHow likely is it that it fires on some word of each text? Answer with a \
             JSON list of {n} numbers from 0 to 1, one a text.\n{}",
            list(|item| item.words.join(" "))
        ),
        Question::Fuzzing => format!(
            "The neuron fires on: {explanation}\nIn each text some words stand between << and >>. How likely is it that \
             these are the words on which it fires? Answer with a JSON list of {n} numbers from 0 to 1, one a text.\n{}",
            list(marked)
        ),
    }
}

fn marked(item: &Item) -> String {
    let word = |(word, &mark): (&String, &bool)| if mark { format!("<<{word}>>") } else { word.clone() };
    item.words.iter().zip(&item.marks).map(word).collect::<Vec<_>>().join(" ")
}

/// The list of numbers in an answer, whatever the model says around it.
fn numbers(content: &str) -> Result<Vec<f64>, String> {
    let list = content.find('[').zip(content.rfind(']')).and_then(|(from, to)| content.get(from..=to));
    let numbers = list.and_then(|list| serde_json::from_str(list).ok());
    numbers.ok_or_else(|| format!("an answer without a list of numbers: {}", start(content)))
}

/// The numbers of each item.
fn split(items: &[Item], numbers: &[f64]) -> Result<Vec<Answer>, String> {
    let n_answers: usize = items.iter().map(Item::n_answers).sum();
    if numbers.len() != n_answers {
        return Err(format!("a wrong number of answers: expected {n_answers}, got {}", numbers.len()));
    }
    let mut rest = numbers;
    let answer = |item: &Item| {
        let (own, others) = rest.split_at(item.n_answers());
        rest = others;
        let scale = if item.question == Question::Simulation { 10.0 } else { 1.0 };
        item.checked(own.iter().map(|number| number / scale).collect())
    };
    Ok(items.iter().map(answer).collect())
}

impl Judge for Client<'_> {
    fn name(&self) -> String {
        format!("{} at {}", self.asked.model, self.url)
    }

    fn judge(&self, _neuron: NeuronId, items: &[Item], progress: &dyn Progress) -> Result<Vec<Answer>, TaskError> {
        let mut answers = Vec::with_capacity(items.len());
        for one_question in items.chunk_by(|a, b| a.question == b.question) {
            let simulation = one_question[0].question == Question::Simulation;
            for items in one_question.chunks(if simulation { 1 } else { self.asked.together }) {
                if progress.cancelled() {
                    return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
                }
                answers.extend(self.together(items)?);
                progress.step(answers.len() as u64);
            }
        }
        Ok(answers)
    }

    fn explain(&self, excerpts: &[Excerpt]) -> Result<Option<String>, TaskError> {
        let line = |(word, activation): &(String, u8)| format!("{word}\t{activation}");
        let text = |excerpt: &Excerpt| excerpt.iter().map(line).collect::<Vec<_>>().join("\n");
        let texts = excerpts.iter().map(text).collect::<Vec<_>>().join("\n\n");
        let prompt = format!(
            "Here are texts, a word a line, with how active a neuron is on each, from 0 to 10. What does it fire on? \
             Answer with one short phrase.\n\n{texts}"
        );
        match self.ask(&prompt) {
            Ok(content) if !content.trim().is_empty() => Ok(Some(start(&content).to_owned())),
            Ok(_) => Err(self.error("an empty explanation".to_owned())),
            Err(Refusal::One(why)) => Err(self.error(why)),
            Err(Refusal::All(err)) => Err(err),
        }
    }
}
