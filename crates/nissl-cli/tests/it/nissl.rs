//! Runs the binary, and prepares what it runs on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A folder of a test, in which its commands run.
pub(crate) struct Place(TempDir);

/// What a command printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns its path relative to the folder.
    pub(crate) fn file<'a>(&self, name: &'a str, content: impl AsRef<[u8]>) -> &'a str {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        name
    }

    /// Copies the small model of the golden tests, with a tokenizer of a few words; its name.
    pub(crate) fn model(&self) -> &'static str {
        copy(&golden("models/bert"), &self.path("model"));
        let words = ["[UNK]", "the", "cat", "dog", "##s", "sees", "likes", "an", "old", "man", "."];
        let vocab: serde_json::Map<_, _> = (0..).zip(words).map(|(id, word)| (word.to_owned(), id.into())).collect();
        let tokenizer = serde_json::json!({
            "version": "1.0",
            "added_tokens": [],
            "normalizer": { "type": "Lowercase" },
            "pre_tokenizer": { "type": "Whitespace" },
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": vocab,
            },
        });
        self.file("model/tokenizer.json", tokenizer.to_string());
        "model"
    }

    /// Imports the small store of the golden tests; its name.
    pub(crate) fn store(&self) -> &'static str {
        let (from, text) = (golden("neurox/acts.hdf5"), golden("neurox/sent.word"));
        let ran = self.run(["convert", "-q", from.to_str().unwrap(), "store", "--text", text.to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        "store"
    }

    /// The command, in this folder, without the user's settings.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nissl"));
        self.prepare(&mut command).args(args);
        command
    }

    /// Sets folder and environment of a command.
    pub(crate) fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.0.path()).env("HF_HUB_OFFLINE", "1").env("HF_HOME", self.path("hub"));
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"] {
            command.env_remove(name);
        }
        command.env("COLUMNS", "100")
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// Runs a command that must go well, and returns what it printed.
    #[track_caller]
    pub(crate) fn succeed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    }

    /// A run as a snapshot shows it: exit code, output, errors; the folder's own path replaced.
    pub(crate) fn shown(&self, ran: &Ran) -> String {
        let code = ran.code.map_or("none".to_owned(), |code| code.to_string());
        let text = format!("exit code: {code}\n--- stdout\n{}--- stderr\n{}", ran.stdout, ran.stderr);
        let own = self.0.path().display().to_string();
        text.replace(&own, "[DIR]").replace(&golden("").display().to_string(), "[GOLDEN]/")
    }
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// A path of the committed fixtures.
pub(crate) fn golden(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    root.join("tests/golden").join(name)
}

/// The files of the demo as they are in the repository.
pub(crate) fn demo_asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("nissl-tasks/assets/demo").join(name)
}

/// The folder that `nissl demo` has filled, once for all tests, and what it printed.
pub(crate) fn demo() -> &'static (PathBuf, Ran) {
    static DEMO: OnceLock<(PathBuf, Ran)> = OnceLock::new();
    DEMO.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nissl-demo");
        let place = Place::new();
        let ran = place.run([OsStr::new("demo"), OsStr::new("--out"), out.as_os_str()]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (out, ran)
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Compares with the snapshot of this name, times replaced.
#[track_caller]
pub(crate) fn assert_shown(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"in \d+(\.\d+)? (s|min|h)( \(\d[\d,]* [\w/ ]+/s\))?", "in [TIME]");
    settings.add_filter(r#""version": "[^"]+""#, r#""version": "[VERSION]""#);
    settings.add_filter(r#""(fingerprint|data|labels)": "[0-9a-f]{16}""#, r#""$1": "[DIGEST]""#);
    settings
        .add_filter(r"checksum is [0-9a-f]{8}, its bytes have [0-9a-f]{8}", "checksum is [CRC], its bytes have [CRC]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}
