//! The format does not change by accident: today's writer gives the bytes of `tests/golden/store`, which zarr-python and
//! pyarrow read (`check.py` beside them; it is run when they change, since CI has no Python).
//!
//! After a wanted change: `NISSL_UPDATE_GOLDEN=1 cargo test -p nissl-store golden`, then `python check.py`.

use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::NoProgress;
use nissl_store::{Dtype, Store};

use crate::sample;

const N_SENTENCES: usize = 30;

fn golden(dtype: Dtype) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/store").join(dtype.name())
}

#[test]
fn the_writer_gives_the_golden_bytes() {
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        let dir = sample::folder().unwrap();
        let run = sample::run(dtype);
        let store = sample::write(&dir.path().join("store"), &run, N_SENTENCES);
        if std::env::var_os("NISSL_UPDATE_GOLDEN").is_some() {
            let _ = fs::remove_dir_all(golden(dtype));
            sample::write(&golden(dtype), &run, N_SENTENCES);
        }
        let same = |file: String| {
            let (got, want) =
                (fs::read(store.path().join(&file)).unwrap(), fs::read(golden(dtype).join(&file)).unwrap());
            assert!(got == want, "{dtype}/{file} has other bytes");
        };
        same("zarr.json".to_owned());
        same("acts/zarr.json".to_owned());
        for site in &run.sites {
            for file in ["zarr.json", "c.0.0", "c.1.0"] {
                same(format!("acts/{}/{file}", site.point));
            }
        }
    }
}

#[test]
fn the_golden_store_is_read() {
    for dtype in [Dtype::Float16, Dtype::Bfloat16] {
        let dir = sample::folder().unwrap();
        let want = sample::write(&dir.path().join("store"), &sample::run(dtype), N_SENTENCES);
        let store = Store::open(golden(dtype)).unwrap();
        assert_eq!(store.manifest().run, want.manifest().run);
        assert_eq!(store.rows().unwrap(), want.rows().unwrap());
        assert_eq!(store.sentences().unwrap(), want.sentences().unwrap());
        assert_eq!(store.moments().unwrap(), want.moments().unwrap());
        store.verify(&NoProgress).unwrap();
    }
}
