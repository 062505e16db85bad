//! A server on this machine stands for a language model: what it says becomes answers, and what it says wrongly is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nissl_core::NoProgress;

use super::*;

/// A request: its head, and the prompt of the user.
struct Request {
    head: String,
    prompt: String,
}

/// Answers requests by `respond`, which gives a status and a body, until the address is no longer asked.
fn serve(respond: fn(&str) -> (u16, String)) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                head.push_str(&line.to_lowercase());
                line.clear();
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let mut body = vec![0; length.trim().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let prompt = body["messages"][1]["content"].as_str().unwrap().to_owned();
            let (status, answer) = respond(&prompt);
            let _ = sender.send(Request { head, prompt });
            let head =
                format!("HTTP/1.1 {status} status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
    });
    (url, receiver)
}

/// What a server of chat completions sends.
fn says(content: &str) -> (u16, String) {
    (200, json!({ "choices": [{ "message": { "role": "assistant", "content": content } }] }).to_string())
}

fn item(question: Question, words: &[&str], marks: &[bool]) -> Item {
    Item {
        id: words.join(" "),
        question,
        explanation: "animals".to_owned(),
        words: words.iter().map(|&word| word.to_owned()).collect(),
        marks: marks.to_vec(),
        rows: 0..words.len(),
    }
}

fn items() -> Vec<Item> {
    vec![
        item(Question::Simulation, &["the", "cat"], &[]),
        item(Question::Detection, &["a", "dog"], &[]),
        item(Question::Detection, &["a", "house"], &[]),
        item(Question::Fuzzing, &["the", "cat"], &[false, true]),
    ]
}

fn ask(url: &str, items: &[Item]) -> Result<Vec<Answer>, TaskError> {
    let asked = Endpoint { model: "toy".to_owned(), key_variable: "PATH".to_owned(), ..Endpoint::default() };
    let neuron = "0.mlp_post[0]".parse().unwrap();
    client(&asked, url)?.judge(neuron, items, &NoProgress)
}

#[test]
fn each_question_is_asked_in_its_form_and_answered_in_numbers() {
    let (url, requests) = serve(|prompt| {
        says(if prompt.contains("each word") {
            "Sure: [0, 10]"
        } else if prompt.contains("<<cat>>") {
            "[0.8]"
        } else {
            "[0.9, 0.1]"
        })
    });
    let answers: Vec<Vec<f64>> = ask(&url, &items()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [vec![0.0, 1.0], vec![0.9], vec![0.1], vec![0.8]]);
    let requests: Vec<Request> = requests.try_iter().collect();
    assert_eq!(requests.len(), 3, "both detections together");
    assert!(requests.iter().all(|request| request.prompt.contains("fires on: animals")));
    assert!(requests[1].prompt.contains("1. a dog\n2. a house"), "{}", requests[1].prompt);
    let head = &requests[0].head;
    assert!(head.starts_with("post /v1/chat/completions "), "{head}");
    assert!(head.contains("authorization: bearer "), "the key of the variable is sent: {head}");
}

#[test]
fn what_is_answered_wrongly_is_told_and_the_others_go_on() {
    let (url, _requests) = serve(|prompt| {
        if prompt.contains("each word") {
            return says("[0, 1, 2]");
        }
        if prompt.contains("<<cat>>") { says("I cannot tell.") } else { says("[0.9, 1.5]") }
    });
    let answers = ask(&url, &items()).unwrap();
    let errors: Vec<&str> = answers.iter().filter_map(|answer| answer.as_ref().err().map(String::as_str)).collect();
    assert_eq!(
        errors,
        [
            "a wrong number of answers: expected 2, got 3",
            "a number out of its range: 1.5",
            "an answer without a list of numbers: I cannot tell."
        ]
    );
    let (url, _requests) = serve(|_| (200, "<html>".to_owned()));
    assert!(ask(&url, &items()).unwrap()[0].as_ref().unwrap_err().contains("no JSON: <html>"));
    let (url, _requests) = serve(|_| (200, "{}".to_owned()));
    assert!(ask(&url, &items()).unwrap()[0].as_ref().unwrap_err().contains("choices[0].message.content"));
    let (url, _requests) = serve(|_| (503, "busy".to_owned()));
    assert!(ask(&url, &items()).unwrap()[0].as_ref().unwrap_err().contains("status 503: busy"));
}

#[test]
fn an_endpoint_that_refuses_is_named_without_the_key() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    };
    let error = ask(&closed, &items()).unwrap_err().to_string();
    assert!(error.starts_with(&closed) && error.to_lowercase().contains("refused"), "{error}");
    let (url, _requests) = serve(|_| (401, format!("wrong key {}", std::env::var("PATH").unwrap())));
    let error = ask(&url, &items()).unwrap_err().to_string();
    assert!(error.contains("status 401: wrong key [key]"), "{error}");
    for url in ["ftp://a", "http://user:word@a/v1", "http://a/v1?key=1", "http://"] {
        let error = ask(url, &items()).unwrap_err().to_string();
        assert!(error.contains("url: expected http://") && !error.contains("word@"), "{error}");
    }
}

#[test]
fn a_neuron_is_explained_by_its_excerpts() {
    let (url, requests) = serve(|_| says("  animals \n"));
    let asked = Endpoint::default();
    let excerpts = [vec![("the".to_owned(), 0), ("cat".to_owned(), 10)], vec![("dog".to_owned(), 9)]];
    let explanation = client(&asked, &url).unwrap().explain(&excerpts).unwrap();
    assert_eq!(explanation.as_deref(), Some("animals"));
    assert!(requests.recv().unwrap().prompt.ends_with("the\t0\ncat\t10\n\ndog\t9"));
    let (url, _requests) = serve(|_| says(""));
    assert!(client(&asked, &url).unwrap().explain(&excerpts).is_err());
}
