#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::NoProgress;
use tempfile::TempDir;

use super::*;

#[cfg(feature = "download")]
mod download;

fn hub(cache: &Path) -> Hub {
    Hub { cache: cache.to_owned(), endpoint: "http://127.0.0.1:1".to_owned(), offline: true, token: None }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_is_taken_as_it_lies() {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("config.json"), b"{}");
    write(&folder.path().join("model.safetensors"), b"");
    let source = folder.path().display().to_string();
    let found = hub(Path::new("nowhere")).resolve(&source, &NoProgress).unwrap();
    assert_eq!(found, ModelFiles { folder: folder.path().to_owned(), name: source, commit: None });
}

#[test]
fn what_is_no_model_says_what_is_there() {
    let folder = TempDir::new().unwrap();
    let inside = |name: &str| folder.path().join(name).display().to_string();
    write(&folder.path().join("text/a.txt"), b"");
    write(&folder.path().join("only/config.json"), b"{}");
    write(&folder.path().join("two/a.gguf"), b"");
    write(&folder.path().join("two/b.gguf"), b"");
    let cases = [
        (inside("text"), "expected config.json, got a.txt"),
        (inside("two"), "expected a folder of one model, or the path of one, got a.gguf, b.gguf"),
        (
            inside("text/a.txt"),
            "expected a folder with config.json and weights, or a file that is a model by itself, got a file",
        ),
        (inside("only"), "pytorch_model.bin.index.json, got config.json"),
        (inside("gone"), "expected a model folder, or a Hub name such as org/name, got nothing at this path"),
        ("../gone".to_owned(), "got nothing at this path"),
        ("a/b/c".to_owned(), "got nothing at this path"),
        ("org/name@../x".to_owned(), "got nothing at this path"),
        ("org/nämé".to_owned(), "got nothing at this path"),
        ("org/name".to_owned(), "org/name@main: no such folder, and not in the cache"),
        ("name@v1".to_owned(), "name@v1: no such folder, and not in the cache"),
    ];
    for (source, expected) in cases {
        let message = hub(folder.path()).resolve(&source, &NoProgress).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
    }
}

#[test]
fn a_name_is_found_in_the_cache_by_branch_tag_and_commit() {
    let cache = TempDir::new().unwrap();
    let repo = cache.path().join("models--org--some.model-2");
    for commit in ["aaa111", "bbb222"] {
        write(&repo.join("snapshots").join(commit).join("config.json"), b"{}");
        write(&repo.join("snapshots").join(commit).join("model.safetensors"), b"");
    }
    write(&repo.join("snapshots/ccc333/config.json"), b"{}");
    write(&repo.join("refs/main"), b"bbb222\n");
    write(&repo.join("refs/pr/1"), b"aaa111");
    write(&repo.join("refs/half"), b"ccc333");
    write(&repo.join("refs/evil"), b"../../../elsewhere");
    let hub = hub(cache.path());
    for (source, commit) in
        [("org/some.model-2", "bbb222"), ("org/some.model-2@pr/1", "aaa111"), ("org/some.model-2@aaa111", "aaa111")]
    {
        let found = hub.resolve(source, &NoProgress).unwrap();
        let folder = repo.join("snapshots").join(commit);
        assert_eq!(found, ModelFiles { folder, name: source.to_owned(), commit: Some(commit.to_owned()) });
    }
    for source in ["org/some.model-2@half", "org/some.model-2@evil", "org/some.model-2@v9", "org/other"] {
        let error = hub.resolve(source, &NoProgress).unwrap_err();
        assert!(matches!(error, LoadError::Hub { .. }), "{source}: {error}");
    }
}

#[test]
fn the_environment_says_where_the_cache_is_and_whether_to_download() {
    let with = |vars: &[(&str, &str)]| {
        Hub::from_vars(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(with(&[("HF_HOME", "/h")]).cache, Path::new("/h/hub"));
    assert_eq!(with(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache, Path::new("/c"));
    assert_eq!(with(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
    assert!(with(&[]).cache.ends_with("huggingface/hub"));
    assert_eq!(with(&[("HF_HOME", "/h")]).endpoint, ENDPOINT);
    assert_eq!(with(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "http://x")]).endpoint, "http://x");
    for (value, offline) in [("1", true), ("TRUE", true), ("yes", true), ("0", false), ("off", false)] {
        assert_eq!(with(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
    assert_eq!(with(&[("HF_HOME", "/h"), ("HF_TOKEN", "secret")]).token.as_deref(), Some("secret"));
    assert!(!format!("{:?}", with(&[("HF_HOME", "/h"), ("HF_TOKEN", "secret")])).contains("secret"));
}
