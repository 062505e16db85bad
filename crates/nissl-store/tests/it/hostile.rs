//! Files that are damaged, or made to do harm, are errors that name what is wrong. Nothing panics.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use nissl_core::{Activations, NoProgress};
use nissl_store::{Dtype, Store, StoreError};
use serde_json::{Value, json};

use crate::sample;

/// A finished store of 100 sentences, 299 rows.
fn store(dir: &Path) -> Store {
    sample::write(&dir.join("store"), &sample::run(Dtype::Float16), 100)
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Everything that reads; the first error.
fn read_all(path: &Path) -> Result<(), StoreError> {
    let store = Store::open(path)?;
    let x = store.all();
    let mut out = Array2::zeros((x.n_tokens(), x.neurons().len()));
    let read = x.read(0..x.n_tokens(), 0..x.neurons().len(), out.view_mut());
    store.rows()?;
    store.sentences()?;
    store.moments()?;
    for column in store.label_columns() {
        store.labels(column)?;
    }
    store.verify(&NoProgress)?;
    read.expect("what can be verified can be read");
    Ok(())
}

fn mlp(store: &Store, file: &str) -> PathBuf {
    store.path().join("acts/blocks.1.mlp.hook_post").join(file)
}

#[test]
fn a_corrupt_block_is_named_by_file_rows_and_neurons() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let path = mlp(&store, "c.1.0");
    // The second column of chunks, its second chunk: rows 80 to 96, neurons 16 to 32.
    edit(&path, |bytes| bytes[3 * 516 + 40] ^= 1);
    let x = store.all();
    let mut out = Array2::zeros((299, 1));
    // Neurons 0 to 27 are those of the other sites.
    x.read(0..299, 27 + 15..27 + 16, out.view_mut()).unwrap();
    let mut out = Array2::zeros((299, 1));
    let error = x.read(0..299, 27 + 16..27 + 17, out.view_mut()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let expected = "c.1.0: block of rows 80..96 and neurons blocks.1.mlp.hook_post[16..32] at byte 1548 is corrupt";
    assert!(cause.contains(expected), "{cause}");
    let verified = store.verify(&NoProgress).unwrap_err().to_string();
    assert_eq!(verified, cause);
    let mut out = Array2::zeros((16, 1));
    x.read(64..80, 27 + 16..27 + 17, out.view_mut()).unwrap();
}

#[test]
fn every_byte_of_a_shard_counts() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let path = store.path().join("acts/blocks.0.hook_resid_post/c.4.0");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let error = store.verify(&NoProgress).expect_err("a changed bit is found");
        assert!(error.to_string().contains("c.4.0"), "byte {at}: {error}");
    }
    for len in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert!(store.verify(&NoProgress).is_err(), "cut to {len} bytes");
    }
    fs::remove_file(&path).unwrap();
    assert!(store.verify(&NoProgress).unwrap_err().to_string().contains("cannot open"));
}

#[test]
fn an_index_that_points_outside_its_file_is_refused() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let path = mlp(&store, "c.0.0");
    let good = fs::read(&path).unwrap();
    let index = good.len() - (4 * 3 * 16 + 4);
    for (offset, len) in
        [(u64::MAX, u64::MAX), (u64::MAX - 100, 516), (1 << 40, 516), (0, 515), (0, u64::MAX), (6000, 516)]
    {
        let mut bytes = good.clone();
        bytes[index + 16..index + 24].copy_from_slice(&offset.to_le_bytes());
        bytes[index + 24..index + 32].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[index..good.len() - 4]);
        let end = good.len() - 4;
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = store.verify(&NoProgress).unwrap_err().to_string();
        assert!(error.contains("index entry of chunk (0, 1): expected 516 bytes before byte 6192, got"), "{error}");
        let mut out = Array2::zeros((299, 60));
        assert!(store.all().read(0..299, 0..60, out.view_mut()).is_err());
    }
}

#[test]
fn a_hostile_manifest_is_refused() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let path = store.path().join("nissl.json");
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let cases: &[(&str, Value, &str)] = &[
        ("/format", json!("zip"), "format: expected \"nissl-store\", got \"zip\""),
        ("/format_version", json!(2), "format_version: expected 1, got 2"),
        ("/n_rows", json!(u64::MAX), "n_rows: expected 299, as the parts say"),
        ("/n_sentences", json!(u64::MAX), "n_sentences: expected 100"),
        ("/open_rows", json!(5), "n_sentences: expected 100"),
        ("/layout/rows_per_chunk", json!(0), "layout: expected chunks"),
        ("/layout/rows_per_chunk", json!(u32::MAX), "layout: expected chunks"),
        ("/layout/rows_per_chunk", json!(48), "layout: expected chunks"),
        ("/layout/rows_per_shard", json!(u32::MAX), "layout: expected chunks"),
        ("/layout/rows_per_shard", json!(128), "parts[0].n_rows: expected 128, got 64"),
        ("/layout/columns_per_chunk", json!(1 << 30), "layout: expected chunks"),
        ("/layout/columns_per_chunk", json!(-1), "the fields of version 1"),
        ("/parts/0/n_rows", json!(u64::MAX), "parts[0].n_rows: expected 64"),
        ("/parts/0/n_sentences", json!(u64::MAX), "n_sentences: expected 18446744073709551615"),
        ("/parts/4/n_rows", json!(0), "n_rows: expected 256"),
        ("/complete", json!(false), "parts[4].n_rows: expected 64"),
        ("/run/sites/0/width", json!(0), "a width from 1 to 16777216"),
        ("/run/sites/0/width", json!(u32::MAX), "a width from 1 to 16777216"),
        ("/run/sites/0/point", json!("../../etc"), "the fields of version 1"),
        ("/run/sites/0/point", json!("hook_embed"), "site hook_embed: expected to be recorded once"),
        ("/run/sites/0/point", json!("blocks.1.attn.hook_pattern"), "a site of fixed width"),
        ("/run/sites", json!([]), "sites: expected from 1 site"),
        ("/run/dtype", json!("float8"), "the fields of version 1"),
        ("/run/word_columns", json!(["a", "a"]), "names without repeats"),
        ("/parts", json!(7), "the fields of version 1"),
    ];
    for (pointer, value, expected) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value.clone();
        fs::write(&path, bad.to_string()).unwrap();
        let error = Store::open(store.path()).expect_err(pointer).to_string();
        assert!(error.contains(expected), "{pointer} = {value}: {error}");
    }
    for text in ["", "{", "[]", "null", "{\"format\": \"nissl-store\", \"format_version\": 1}"] {
        fs::write(&path, text).unwrap();
        assert!(Store::open(store.path()).unwrap_err().to_string().contains("nissl.json"));
    }
}

#[test]
fn a_manifest_that_promises_what_the_files_do_not_hold_is_found_out() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let path = store.path().join("nissl.json");
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let cases: &[(&str, Value)] = &[
        ("/run/sites/0/width", json!(34)),
        ("/run/sites/0/width", json!(1 << 24)),
        ("/run/dtype", json!("float32")),
        ("/run/dtype", json!("bfloat16")),
        ("/run/word_columns", json!(["upos", "Tense"])),
        ("/run/sentence_columns", json!(["topic"])),
        ("/layout/rows_per_chunk", json!(32)),
        ("/layout/columns_per_chunk", json!(8)),
        ("/parts/0/rows/crc32c", json!(1)),
        ("/parts/0/sentences/bytes", json!(1)),
        ("/parts/0/stats/bytes", json!(u64::MAX)),
    ];
    for (pointer, value) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value.clone();
        fs::write(&path, bad.to_string()).unwrap();
        assert!(read_all(store.path()).is_err(), "{pointer} = {value}");
    }
    fs::write(&path, good.to_string()).unwrap();
    read_all(store.path()).unwrap();
    edit(&mlp(&store, "zarr.json"), |bytes| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replace("299", "301").into_bytes();
    });
    let error = store.verify(&NoProgress).unwrap_err().to_string();
    assert!(error.ends_with("zarr.json: array metadata: expected 299,, got 301,"), "{error}");
}

/// A table whose bytes are changed while its digest is made to fit them: what a forger would do.
#[test]
fn a_forged_table_is_an_error_or_another_table_and_never_a_panic() {
    let dir = sample::folder().unwrap();
    let store = store(dir.path());
    let manifest = store.path().join("nissl.json");
    let good_manifest: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let mut random = sample::Random(11);
    for table in ["rows", "sentences", "stats"] {
        let path = store.path().join(table).join("part-00000.parquet");
        let good = fs::read(&path).unwrap();
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            if random.below(8) == 0 {
                bytes.truncate(random.below(good.len()));
            }
            let mut forged = good_manifest.clone();
            let digest = json!({ "bytes": bytes.len(), "crc32c": crc32c::crc32c(&bytes) });
            forged["parts"][0][table] = digest;
            fs::write(&manifest, forged.to_string()).unwrap();
            fs::write(&path, &bytes).unwrap();
            let store = Store::open(store.path()).unwrap();
            let _ = (store.rows(), store.sentences(), store.moments(), store.text(), store.labels("upos"));
            let _ = store.labels("genre");
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_run_that_differs_is_not_resumed() {
    let dir = sample::folder().unwrap();
    let run = sample::run(Dtype::Float16);
    let path = dir.path().join("store");
    let mut writer = nissl_store::Writer::create(&path, run.clone(), &sample::OPTIONS).unwrap();
    sample::append(&mut writer, &run, 0, 30);
    let locked = nissl_store::Writer::resume(&path, &run).unwrap_err();
    assert!(matches!(locked, StoreError::Locked { .. }), "{locked}");
    drop(writer);
    let mut other = run.clone();
    other.aggregation = "last".into();
    let error = nissl_store::Writer::resume(&path, &other).unwrap_err().to_string();
    assert!(error.ends_with("was begun with another aggregation: expected \"mean\", got \"last\""), "{error}");
    let mut other = run.clone();
    other.extra = json!({ "max_tokens": 128 });
    assert!(nissl_store::Writer::resume(&path, &other).unwrap_err().to_string().contains("another extra"));
    let writer = nissl_store::Writer::resume(&path, &run).unwrap();
    assert_eq!(writer.rows_done(), 64);
    assert!(writer.resume_point().sentence > 0);
}

#[test]
fn a_block_that_does_not_fit_is_refused_and_changes_nothing() {
    use nissl_store::Values;
    let dir = sample::folder().unwrap();
    let run = sample::run(Dtype::Float16);
    let (path, whole) = (dir.path().join("store"), dir.path().join("whole"));
    let mut writer = nissl_store::Writer::create(&path, run.clone(), &sample::OPTIONS).unwrap();
    let sentence = sample::sentence(3);
    let values = sample::values(&run, 0, sentence.rows.len());
    let full: Vec<_> = values.iter().map(|values| Values::F32(values)).collect();
    let mut refused = |sentence: &nissl_store::SentenceRows, values: &[Values<'_>], expected: &str| {
        let error = writer.append(std::slice::from_ref(sentence), values).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    refused(&sentence, &full[..2], "sites of a block: expected 3, got 2");
    let short = [full[0], Values::F32(&values[1][1..]), full[2]];
    refused(&sentence, &short, "values of hook_embed: expected 20, got 19");
    let mut odd = sentence.clone();
    odd.rows[0].labels.pop();
    refused(&odd, &full, "row 0 of sentence 0: expected 2 labels, got 1");
    let mut odd = sentence.clone();
    odd.labels.clear();
    refused(&odd, &full, "sentence 0: expected 1 labels, got 0");
    let mut odd = sentence.clone();
    odd.rows[0].end = 3;
    refused(&odd, &full, "row 0 of sentence 0: expected a place in the 4 bytes of its text, got 0..3");
    sample::append(&mut writer, &run, 0, 40);
    writer.finish().unwrap();
    let want = sample::write(&whole, &run, 40);
    assert_eq!(Store::open(&path).unwrap().manifest(), want.manifest());
}

#[test]
fn values_beyond_the_type_are_counted() {
    use nissl_store::{Row, SentenceRows, Values};
    let dir = sample::folder().unwrap();
    let run = nissl_store::Run {
        word_columns: Vec::new(),
        sentence_columns: Vec::new(),
        sites: sample::run(Dtype::Float16).sites[2..].to_vec(),
        ..sample::run(Dtype::Float16)
    };
    let mut writer = nissl_store::Writer::create(dir.path().join("s"), run, &sample::OPTIONS).unwrap();
    let sentence = SentenceRows { rows: vec![Row::default(); 2], ..SentenceRows::default() };
    let mut values = [1.0_f32; 14];
    values[3] = 1e6;
    values[8] = f32::NAN;
    writer.append(&[sentence], &[Values::F32(&values)]).unwrap();
    let store = writer.finish().unwrap();
    assert_eq!(store.manifest().n_not_finite(), 2);
    let moments = store.moments().unwrap();
    assert_eq!((moments[3].1.not_finite, moments[3].1.count), (1, 1));
    assert_eq!((moments[1].1.not_finite, moments[1].1.mean), (1, 1.0));
}
