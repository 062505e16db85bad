//! A writer that is killed, at any moment, and resumed leaves what an uninterrupted one leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nissl_core::NoProgress;
use nissl_store::{Dtype, Store, Writer};

use crate::sample::{self, OPTIONS, files};

/// Set for a child process: the folder in which it writes.
const DIR: &str = "NISSL_STORE_TEST_DIR";
/// Sentences of the sample that children write: about fifty shards.
const N_SENTENCES: usize = 1100;

fn assert_same(got: &Path, want: &BTreeMap<PathBuf, Vec<u8>>, when: &str) {
    let got = files(got);
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{when}");
    for (path, bytes) in want {
        assert!(got[path] == *bytes, "{}: other bytes, {when}", path.display());
    }
}

/// Goes on with the store in `path`, or begins it, up to sentence `end`; `finish`es it or drops the writer.
fn go_on(path: &Path, end: usize, finish: bool) {
    let run = sample::run(Dtype::Float16);
    let mut writer = Writer::create_or_resume(path, &run, &OPTIONS).unwrap();
    let first = writer.resume_point().sentence as usize;
    sample::append(&mut writer, &run, first, end);
    if finish {
        writer.finish().unwrap();
    }
}

/// What the child processes of the other tests run; by itself it writes a store from beginning to end.
#[test]
fn child() {
    let own = sample::folder().unwrap();
    let given = std::env::var_os(DIR).map(PathBuf::from);
    let path = given.as_deref().unwrap_or(own.path());
    let run = sample::run(Dtype::Float16);
    let mut out = std::io::stdout();
    let result = Writer::create_or_resume(path, &run, &OPTIONS).and_then(|mut writer| {
        let first = writer.resume_point().sentence as usize;
        for start in (first..N_SENTENCES).step_by(3) {
            sample::try_append(&mut writer, &run, start, N_SENTENCES.min(start + 3))?;
            if given.is_some() {
                writeln!(out, "{} rows", writer.n_rows()).unwrap();
            }
        }
        writer.finish()
    });
    match result {
        Ok(store) => assert_eq!(store.n_rows(), sample::rows_before(N_SENTENCES)),
        Err(error) => {
            assert!(given.is_some(), "{error}");
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            writeln!(out, "\nfailed: {error}: {cause}").unwrap();
            std::process::exit(3);
        }
    }
}

fn spawn(mut command: Command, dir: &Path) -> Child {
    command.args(["--exact", "kill::child", "--nocapture", "--test-threads", "1"]);
    command.env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn this_test() -> PathBuf {
    std::env::current_exe().unwrap()
}

#[test]
fn killed_at_twenty_random_moments_it_equals_the_uninterrupted_store() {
    let dir = sample::folder().unwrap();
    let whole = dir.path().join("whole");
    go_on(&whole, N_SENTENCES, true);
    let killed = dir.path().join("killed");
    fs::create_dir(&killed).unwrap();
    let mut random = sample::Random(7);
    let (mut n_kills, mut n_resumed) = (0, 0);
    while n_kills < 20 {
        let mut child = spawn(Command::new(this_test()), &killed);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let n_lines = random.below(24);
        let seen = lines.map_while(Result::ok).filter(|line| line.ends_with(" rows")).take(n_lines).count();
        assert_eq!(seen, n_lines, "the child wrote everything before it was killed {n_kills} times");
        // The writer goes on beside us: read what is committed while it does, and let a random time pass.
        if n_kills % 2 == 0
            && let Ok(store) = Store::open(&killed)
        {
            store.verify(&NoProgress).unwrap();
        }
        for _ in 0..random.below(2_000_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        n_kills += 1;
        match Store::open(&killed) {
            Ok(store) => {
                assert!(!store.manifest().complete, "the child wrote everything before it was killed {n_kills} times");
                assert_eq!(store.n_rows() % 64, 0, "only whole shards are committed");
                store.verify(&NoProgress).unwrap();
                n_resumed += usize::from(store.n_rows() > 0);
            }
            // Killed before it wrote a manifest.
            Err(error) => assert!(error.to_string().starts_with("cannot open"), "{error}"),
        }
    }
    assert!(n_resumed >= 10, "the store grew while its writers were killed: {n_resumed}");
    go_on(&killed, N_SENTENCES, true);
    assert_same(&killed, &files(&whole), "killed twenty times");
    Store::open(&killed).unwrap().verify(&NoProgress).unwrap();
}

/// Copies a store file by file.
fn put(root: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_commit_cut_off_after_any_file_is_done_again() {
    let dir = sample::folder().unwrap();
    let (whole, partial) = (dir.path().join("whole"), dir.path().join("partial"));
    go_on(&whole, 80, true);
    let whole = files(&whole);
    // A dropped writer leaves what is committed: one shard, then two. Both end inside a sentence.
    go_on(&partial, 30, false);
    let before = files(&partial);
    go_on(&partial, 55, false);
    let after = files(&partial);
    // In the order of the commit.
    let order = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        [name.starts_with("c."), name.ends_with(".parquet"), name == "zarr.json", name == "nissl.json"]
            .iter()
            .position(|is| *is)
            .unwrap()
    };
    let mut changed: Vec<_> = after.iter().filter(|(path, bytes)| before.get(*path) != Some(*bytes)).collect();
    changed.sort_by_key(|(path, _)| order(path));
    assert_eq!(changed.len(), 3 + 3 + 3 + 1, "a shard and metadata a site, three tables, the manifest");
    for n_done in 0..=changed.len() {
        for half in [false, true] {
            let when = format!("cut off after {n_done} files, half of the next: {half}");
            let state = dir.path().join(format!("{n_done}-{half}"));
            put(&state, &before);
            for (path, bytes) in &changed[..n_done] {
                fs::write(state.join(path), bytes).unwrap();
            }
            if let (true, Some((path, bytes))) = (half, changed.get(n_done)) {
                fs::write(state.join(format!("{}.tmp", path.display())), &bytes[..bytes.len() / 2]).unwrap();
            }
            let store = Store::open(&state).unwrap();
            assert_eq!(store.n_rows(), if n_done == changed.len() { 128 } else { 64 }, "{when}");
            store.verify(&NoProgress).unwrap();
            go_on(&state, 80, true);
            assert_same(&state, &whole, &when);
        }
    }
}

#[test]
fn a_folder_without_a_manifest_is_begun_again_and_one_with_other_files_is_not_touched() {
    let dir = sample::folder().unwrap();
    let whole = dir.path().join("whole");
    go_on(&whole, 10, true);
    let want = files(&whole);
    let mut begun = want.clone();
    begun.retain(|path, _| path.ends_with("zarr.json"));
    begun.insert("nissl.json.tmp".into(), b"{".to_vec());
    let state = dir.path().join("begun");
    put(&state, &begun);
    go_on(&state, 10, true);
    let mut got = files(&state);
    got.remove(Path::new("nissl.json.tmp"));
    assert!(got == want);
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "x").unwrap();
    let error = Writer::create(&other, sample::run(Dtype::Float16), &OPTIONS).unwrap_err().to_string();
    assert!(error.ends_with("other is not empty: resume the store in it, or choose another folder"), "{error}");
    assert_eq!(files(&other).len(), 1);
    let error = Writer::create(&whole, sample::run(Dtype::Float16), &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
}

/// Runs the child through a shell that first does `prepare`; returns what it said when it failed.
#[cfg(unix)]
fn failure(dir: &Path, prepare: &str) -> Option<String> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{prepare} exec \"$0\" \"$@\"")]).arg(this_test());
    let output = spawn(command, dir).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("failed: ").map(ToOwned::to_owned))
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow_is_a_clear_error_and_nothing_half_written() {
    let dir = sample::folder().unwrap();
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    // Two units of 512 or 1024 bytes, by shell: too few for a shard.
    let error = failure(&store, "trap '' XFSZ; ulimit -f 8;").expect("the limit is smaller than a shard");
    assert!(error.contains("cannot write") && error.contains("c.0.0: File too large"), "{error}");
    assert!(files(&store).keys().all(|path| !path.to_string_lossy().ends_with(".tmp")), "temporary files are removed");
    assert_eq!(Store::open(&store).unwrap().n_rows(), 0);
    go_on(&store, 100, true);
    let whole = dir.path().join("whole");
    go_on(&whole, 100, true);
    assert_same(&store, &files(&whole), "resumed with room enough");
}

/// On Linux, where a user may mount a small file system of their own; elsewhere the test before stands for it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_clear_error_and_what_was_committed_stays() {
    let dir = sample::folder().unwrap();
    let mount = |then: &str| {
        format!(
            "exec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=300k tmpfs \"$NISSL_STORE_TEST_DIR\" && {then}' \"$0\" \"$@\";"
        )
    };
    let allowed = |command: &str| {
        let status = Command::new("sh").args(["-c", command]).env(DIR, dir.path()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !allowed(&mount("true")) {
        return;
    }
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let then = format!("\"$0\" \"$@\"; cp -r \"$NISSL_STORE_TEST_DIR\" {}", copy.display());
    let error = failure(&small, &mount(&then)).expect("the disk is smaller than the store");
    assert!(error.contains("cannot ") && error.ends_with("No space left on device (os error 28)"), "{error}");
    let copy = copy.join("small");
    let store = Store::open(&copy).unwrap();
    assert!(store.n_rows() > 0 && !store.manifest().complete, "{} rows fitted", store.n_rows());
    store.verify(&NoProgress).unwrap();
    go_on(&copy, 200, true);
    let whole = dir.path().join("whole");
    go_on(&whole, 200, true);
    assert_same(&copy, &files(&whole), "resumed with room enough");
}
