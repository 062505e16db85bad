#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use proptest::prelude::*;

use super::super::Checkpoint;
use super::super::testing::{damaged, golden, open_as, read_all, refusal, try_bytes, zip, zip_with};
use super::MAGIC;

/// Pieces of pickles.
const DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
const REBUILD: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n";

fn text(text: &str) -> Vec<u8> {
    [&[0x8c, text.len() as u8], text.as_bytes()].concat()
}

/// A tensor of `len` f32 numbers under key "0": offset, sizes and strides as given.
fn tensor(len: i32, offset: i32, sizes: &[i32], strides: &[i32]) -> Vec<u8> {
    let int = |value: i32| [&b"J"[..], &value.to_le_bytes()].concat();
    let tuple = |values: &[i32]| [b"(".to_vec(), values.iter().flat_map(|v| int(*v)).collect(), b"t".to_vec()].concat();
    let storage =
        [b"(".to_vec(), text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu"), int(len)].concat();
    [REBUILD, b"(", &storage, b"tQ", &int(offset), &tuple(sizes), &tuple(strides), &[0x89], DICT, b"tR"].concat()
}

/// A file whose pickle is this, with six numbers of storage.
fn file(pickle: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    zip(&[("m/data.pkl", &[b"\x80\x02", pickle, b"."].concat()), ("m/data/0", &numbers)])
}

/// A file with one tensor, called `w`.
fn one(tensor: &[u8]) -> Vec<u8> {
    file(&[b"}", &text("w")[..], tensor, b"s"].concat())
}

#[test]
fn what_pytorch_writes_is_read_in_both_forms() {
    let expected = Checkpoint::open(&golden("weights.safetensors")).unwrap();
    let names: Vec<&str> = expected.names().collect();
    for file in ["zip.pt", "old.pt", "run.pt"] {
        let checkpoint = Checkpoint::open(&golden(file)).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), names, "{file}");
        for name in &names {
            let (got, want) = (checkpoint.tensor(name).unwrap(), expected.tensor(name).unwrap());
            assert_eq!((got.dtype, got.shape), (want.dtype, want.shape), "{file}: {name}");
            assert_eq!(got.bytes, want.bytes, "{file}: {name}");
        }
        read_all(&checkpoint);
    }
}

#[test]
fn tensors_that_share_numbers_share_them_here() {
    let checkpoint = Checkpoint::open(&golden("zip.pt")).unwrap();
    let start = |name| checkpoint.tensor(name).unwrap().bytes.as_ptr();
    assert_eq!(start("plain.weight"), start("tied.weight"));
    assert_eq!(start("rows.weight"), start("plain.weight").wrapping_add(2 * 4 * 4));
}

#[test]
fn shards_of_pytorch_are_read_as_their_index_says() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("a.bin"), one(&tensor(6, 0, &[2, 3], &[3, 1]))).unwrap();
    let index = r#"{"weight_map": {"w": "a.bin"}}"#;
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.f32("w", &[2, 3]).unwrap(), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]);
}

#[test]
fn a_pickle_that_calls_a_function_is_refused_by_its_name() {
    let call = |module: &str, name: &str| format!("c{module}\n{name}\n").into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        ([&call("os", "system")[..], &text("true"), b"\x85R"].concat(), "os.system"),
        (call("__builtin__", "eval"), "builtins.eval"),
        ([text("posix"), text("system"), vec![0x93]].concat(), "posix.system"),
        (b"(ios\nsystem\n".to_vec(), "os.system"),
        (call("torch", "load"), "torch.load"),
        (call("torch", "FloatStorage.__class__"), "torch.FloatStorage.__class__"),
        (call("numpy.core.multiarray", "_reconstruct"), "numpy.core.multiarray._reconstruct"),
        (call("a\u{1b}[2J", "b"), r"a\u{1b}[2J.b"),
        ([b"(".to_vec(), text("module"), b"tQ".to_vec()].concat(), "a class of its own"),
    ];
    for (pickle, name) in cases {
        let expected = format!("pickle calls {name}: refused");
        for bytes in [file(&pickle), [MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}.", &pickle, b"."].concat()] {
            let message = refusal("x.pt", &bytes);
            assert!(message.contains(&expected), "{expected}: {message}");
        }
    }
    let program = zip(&[("m/data.pkl", b"\x80\x02}."), ("m/constants.pkl", b"")]);
    assert!(refusal("x.pt", &program).contains("a program (TorchScript): refused"));
}

#[test]
fn a_hostile_pickle_is_refused_with_what_is_wrong() {
    let deep = |open: &[u8], close: &[u8]| file(&[open.repeat(100_000), close.repeat(99_999)].concat());
    // Every list holds the one before it twice: a billion tensors, in 300 bytes.
    let mut bomb = [b"}", &text("w")[..], b"]", &tensor(6, 0, &[1], &[1]), b"a"].concat();
    for _ in 0..30 {
        bomb.extend(b"q\x010]h\x01ah\x01a");
    }
    bomb.push(b's');
    let mut names = b"}q\x00".to_vec();
    let long = [&b"X"[..], &(1u32 << 20).to_le_bytes(), &vec![b'n'; 1 << 20]].concat();
    names.extend([&text("w")[..], b"]", &long, b"q\x01"].concat());
    names.extend(b"0(".to_vec());
    for _ in 0..200 {
        names.extend([b"}h\x01", &tensor(6, 0, &[1], &[1])[..], b"s"].concat());
    }
    names.extend(b"es");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", file(b""), "pickle: expected 1 values on the stack before byte 3, got 0"),
        ("no end", zip(&[("data.pkl", b"\x80\x02}")]), "pickle: expected 1 bytes from byte 3 on, got 0"),
        ("a dictionary in itself", file(b"}q\x00\x8c\x01ah\x00s"), "at most 32 deep, got more"),
        ("a list in itself", file(b"]q\x00h\x00a"), "at most 32 deep, got more"),
        ("lists in lists", deep(b"]", b"a"), "at most 32 deep, got more"),
        ("a bomb of lists", file(&bomb), "expected names of at most 67108864 bytes"),
        ("a bomb of names", file(&names), "expected names of at most 67108864 bytes"),
        ("a bomb of values", file(&b"N".repeat((1 << 23) + 1)), "expected at most 8388608 values, got more"),
        ("a bomb of marks", file(&b"(".repeat((1 << 23) + 1)), "expected at most 8388608 values, got more"),
        ("below a mark", file(b"}(0"), "1 values on the stack before byte 5, got 0"),
        ("no mark", file(b"}t"), "a mark on the stack before byte 4, got none"),
        ("never put aside", file(b"h\x07"), "put aside, got number 7, which was not"),
        ("text of 4 GB", file(b"X\xff\xff\xff\xff"), "4294967295 bytes from byte 7 on, got 1"),
        ("text of 16 EB", file(&[0x8d, 255, 255, 255, 255, 255, 255, 255, 255]), "18446744073709551615 bytes"),
        ("no UTF-8", file(b"\x8c\x01\xff"), "text in UTF-8, got other bytes at byte 4"),
        ("a name without end", file(b"cos"), "the name of a function, got no end of a line"),
        ("an instruction of protocol 0", file(b"I1\n"), "that PyTorch writes, got 0x49 at byte 2"),
        ("a call of nothing", file(b"K\x01)R"), "a function to call, got a whole number"),
        ("wrong arguments", file(&[REBUILD, b"K\x01\x85R"].concat()), "RebuildTensor takes, got (a whole number)"),
        ("a key alone", file(b"}(Nu"), "a value for every key"),
        ("a strange key", one(&[b"}N", &tensor(6, 0, &[1], &[1])[..], b"s"].concat()), "whole number as key, got None"),
        ("attributes of a number", file(b"K\x01}b"), "set attributes of, got a whole number"),
        ("no dictionary", file(&tensor(6, 0, &[1], &[1])), "a dictionary of weights, got a tensor"),
        ("a storage of text", file(b"NQ"), "a tuple that names a storage, got None"),
        ("negative", one(&tensor(6, -1, &[1], &[1])), "a size of 0 or more, got -1"),
        ("beyond its storage", one(&tensor(6, 1, &[2, 3], &[3, 1])), "w: expected a tensor within 6 numbers"),
        (
            "beyond it by strides",
            one(&tensor(6, 0, &[2, 2], &[4, 2])),
            "within 6 numbers, got [2, 2] with strides [4, 2]",
        ),
        ("too large to count", one(&tensor(6, 0, &[i32::MAX; 4], &[0; 4])), "within 6 numbers"),
        ("one number everywhere", one(&tensor(6, 0, &[1 << 30], &[0])), "no more numbers than its storage has"),
        ("longer than its bytes", one(&tensor(7, 0, &[7], &[1])), "7 numbers of F32 in storage '0', got 24 bytes"),
        ("strides missing", one(&tensor(6, 0, &[2, 3], &[3])), "2 strides for a tensor, got 1"),
        ("65 dimensions", one(&tensor(6, 0, &[1; 65], &[1; 65])), "at most 64 dimensions, got 65"),
    ];
    for (what, bytes, expected) in cases {
        let message = refusal("x.pt", &bytes);
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn copies_of_one_view_are_one_and_copies_of_many_are_limited() {
    let view = |i: i32| tensor(6, 0, &[3, 2], &[1, i]);
    let names = |n: usize, which: &dyn Fn(usize) -> Vec<u8>| {
        let parts: Vec<u8> = (0..n).flat_map(|i| [text(&format!("w{i}")), which(i)].concat()).collect();
        file(&[b"}(", &parts[..], b"u"].concat())
    };
    let (_folder, same) = open_as("x.pt", &names(100, &|_| view(3)));
    let same = same.unwrap();
    for name in ["w0", "w99"] {
        assert_eq!(same.f32(name, &[3, 2]).unwrap(), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]);
    }
    assert_eq!(same.parts[0].copied.len(), 24);
    // Views that differ in strides alone, of a storage that has most of the file's bytes.
    let large = |n: i32| {
        let views: Vec<u8> = (0..4)
            .flat_map(|i| [text(&format!("w{i}")), tensor(n, 0, &[2, n / 4], &[1, 2 - i % 2])].concat())
            .collect();
        let offsets: Vec<u8> =
            (0..4).flat_map(|i| [text(&format!("v{i}")), tensor(n, i, &[2, n / 4], &[1, 2])].concat()).collect();
        let pickle = [b"\x80\x02}(", &views[..], &offsets, b"u."].concat();
        zip(&[("data.pkl", &pickle), ("data/0", &vec![0; 4 * n as usize])])
    };
    let message = refusal("x.pt", &large(4096));
    assert!(message.contains("bytes in tensors that are views of others, got more"), "{message}");
}

#[test]
fn a_hostile_zip_file_is_refused_with_what_is_wrong() {
    let good = one(&tensor(6, 0, &[6], &[1]));
    let at = |pattern: &[u8]| good.windows(pattern.len()).position(|window| window == pattern).unwrap();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let (directory, end) = (at(b"PK\x01\x02"), at(b"PK\x05\x06"));
    let second = good.len() - 22 - 46 - "m/data/0".len();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "a file of PyTorch: a zip file, or the older form, got an empty file"),
        ("another file", b"lua!".to_vec(), "got bytes [6c, 75, 61, 21] at its start"),
        ("cut off", good[..good.len() - 1].to_vec(), "got none: is the file cut off?"),
        ("no pickle", zip(&[("a.npy", b"")]), "one entry data.pkl, as PyTorch writes it, got arrays of numpy"),
        ("two pickles", zip(&[("a/data.pkl", b""), ("b/data.pkl", b"")]), "one entry data.pkl"),
        ("one name twice", zip(&[("data.pkl", b""), ("data.pkl", b"")]), "data.pkl: expected one entry of this name"),
        ("many entries", with(end + 8, &[255; 4]), "the end of a zip directory"),
        ("directory behind the end", with(end + 16, &[255, 255, 255, 127]), "a directory before byte"),
        ("directory elsewhere", with(end + 16, &[1]), "an entry (0x02014b50)"),
        ("encrypted", with(directory + 8, &[1]), "no encryption for m/data.pkl"),
        ("other method", with(directory + 10, &[12]), "stored or deflated for m/data.pkl, got method 12"),
        ("stored, but of another size", with(directory + 24, &[1, 1]), "257 bytes stored for m/data.pkl"),
        ("header elsewhere", with(directory + 42, &[1]), "a header at byte 1 for m/data.pkl"),
        ("another name in the header", with(30, b"n"), "the same name in header and directory for m/data.pkl"),
        ("entries that overlap", with(second + 42, &[0; 4]), "for m/data/0"),
        ("large without the field", with(second + 20, &[255; 8]), "a field that is too short"),
        (
            "compressed",
            zip_with(&[("data.pkl", 8, 9, b"}.")]),
            "an entry that is stored as it is, got a compressed one",
        ),
        ("greatest byte first", zip(&[("data.pkl", b"}."), ("byteorder", b"big")]), "byteorder: expected little"),
    ];
    for (what, bytes, expected) in cases {
        if what == "many entries" {
            // The count is not needed; the directory's size is.
            try_bytes("x.pt", &bytes);
            continue;
        }
        let message = refusal("x.pt", &bytes);
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn an_old_file_that_does_not_hold_what_it_says_is_refused() {
    let good = fs::read(golden("old.pt")).unwrap();
    let cut = refusal("x.bin", &good[..good.len() - 1]);
    assert!(cut.contains("storages: expected"), "{cut}");
    let mut version = good.clone();
    version[MAGIC.len() + 3] ^= 1;
    assert!(refusal("x.bin", &version).contains("header: expected version 1001"));
    let unused = [MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}.\x80\x02]", &text("9"), b"a."].concat();
    assert!(refusal("x.bin", &unused).contains("keys that tensors use, got '9'"));
    let order = [MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}", &text("little_endian"), b"\x89s.\x80\x02}.\x80\x02]."].concat();
    assert!(refusal("x.bin", &order).contains("got the greatest byte first"));
}

proptest! {
    #[test]
    fn no_damage_to_a_file_of_pytorch_makes_the_reader_panic(
        (new, old) in (damaged(fs::read(golden("zip.pt")).unwrap()), damaged(fs::read(golden("old.pt")).unwrap())),
    ) {
        try_bytes("x.pt", &new);
        try_bytes("x.bin", &old);
    }

    #[test]
    fn no_pickle_makes_the_reader_panic(
        pickle in proptest::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            proptest::sample::select(&b"(})]tueasblQRNq\x01h\x01\x85\x86\x87\x88\x93\x94.2"[..]).prop_map(|op| vec![op]),
            Just(tensor(6, 0, &[2, 3], &[3, 1])),
            Just(tensor(6, 1, &[2, 2], &[1, 2])),
            Just(text("w")),
            Just(DICT.to_vec()),
        ], 0..24),
    ) {
        try_bytes("x.pt", &file(&pickle.concat()));
        try_bytes("x.bin", &[MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}.", &pickle.concat()].concat());
    }
}
