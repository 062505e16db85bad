//! Which files of a folder hold the weights.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::cursor::malformed;
use super::{Entry, FORMATS, Format, Whole};
use crate::error::LoadError;

/// The weight files of a folder.
pub(crate) struct Source {
    pub(super) format: &'static Format,
    pub(crate) files: Vec<PathBuf>,
    /// The index file, and the file of each weight, in order of their names.
    index: Option<(PathBuf, Vec<(String, usize)>)>,
}

/// Finds the weight files of a folder: the single file, the shards of an index, or the only file of a format, one
/// format after the other. A path to a file is that file, in the format of its extension.
pub(crate) fn find(path: &Path) -> Result<Source, LoadError> {
    if path.is_file() {
        return from_file(path);
    }
    for format in FORMATS {
        if let Some(single) = format.single.map(|name| path.join(name)).filter(|single| single.exists()) {
            return Ok(Source { format, files: vec![single], index: None });
        }
        if let Some(index) = format.index.map(|name| path.join(name)).filter(|index| index.exists()) {
            return from_index(format, path, index);
        }
    }
    let names = list(path)?;
    let mut got = None;
    for format in FORMATS.iter().filter(|format| format.whole.is_none()) {
        let files: Vec<&String> = names.iter().filter(|name| format.has(Path::new(name))).collect();
        match files[..] {
            [] => {}
            [only] => return Ok(Source { format, files: vec![path.join(only)], index: None }),
            [..] => {
                let index = format.index.map_or(String::new(), |index| format!(" and no {index}"));
                got = got.or_else(|| Some(format!("{} {} files{index}", files.len(), format.name)));
            }
        }
    }
    let unread = |name: &&String| ["h5", "msgpack", "onnx"].iter().any(|ext| has_extension(Path::new(name), ext));
    let got = got.unwrap_or_else(|| match (wholes(path).first(), names.iter().find(unread)) {
        (Some(name), _) => format!("{name}, which is a model by itself"),
        (None, Some(name)) => format!("{name}, whose format is not read"),
        (None, None) => describe(&names),
    });
    Err(LoadError::NotAModel { path: path.to_owned(), expected: expected(), got })
}

/// The file that is a model by itself: the path, or the only one of a folder that has no config.json.
pub(crate) fn whole(path: &Path) -> Option<(&'static Whole, PathBuf)> {
    let mut file = path.to_owned();
    if !path.is_file()
        && !path.join("config.json").exists()
        && let [only] = &wholes(path)[..]
    {
        file.push(only);
    }
    Some((whole_file(&file)?, file))
}

/// The names of a folder's files that are models by themselves.
pub(crate) fn wholes(folder: &Path) -> Vec<String> {
    let names = list(folder).unwrap_or_default().into_iter();
    names.filter(|name| whole_file(&folder.join(name)).is_some()).collect()
}

/// How a file is opened that is a model by itself.
fn whole_file(path: &Path) -> Option<&'static Whole> {
    FORMATS.iter().find(|format| path.is_file() && format.has(path))?.whole.as_ref()
}

fn from_file(path: &Path) -> Result<Source, LoadError> {
    if let Some(format) = FORMATS.iter().find(|format| format.has(path)) {
        return Ok(Source { format, files: vec![path.to_owned()], index: None });
    }
    // Those that another format has too are named once.
    let own = FORMATS.iter().filter(|format| format.is.is_none());
    let all: Vec<String> = own.flat_map(|format| format.extensions).map(|ext| format!(".{ext}")).collect();
    let got = "another name".to_owned();
    Err(LoadError::NotAModel { path: path.to_owned(), expected: format!("a file {}", all.join(", ")), got })
}

/// The files that would make a folder a model.
pub(crate) fn expected() -> String {
    let names = FORMATS.iter().flat_map(|format| [format.single, format.index]).flatten();
    names.collect::<Vec<_>>().join(" or ")
}

/// The names in a folder, in order, without hidden ones.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, LoadError> {
    let io = |source| LoadError::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What is in a folder, in a few words.
pub(crate) fn describe(names: &[String]) -> String {
    const SHOWN: usize = 6;
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// Whether a file begins with some bytes.
pub(super) fn begins(path: &Path, with: &[u8]) -> bool {
    let mut bytes = vec![0; with.len()];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).is_ok_and(|()| bytes == with)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case(extension))
}

impl Format {
    /// Whether a file's name ends as those of this format, and it is one of them.
    pub(super) fn has(&self, path: &Path) -> bool {
        let is_named = self.extensions.iter().any(|extension| has_extension(path, extension));
        is_named && self.is.is_none_or(|is| is(path))
    }
}

impl Source {
    /// Checks the index against the shards, and drops copies of a weight in shards that the index does not name.
    pub(super) fn check(&self, tensors: &mut Vec<(usize, Entry)>) -> Result<(), LoadError> {
        let Some((path, map)) = &self.index else {
            return Ok(());
        };
        let file_of = |name: &str| map.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok().map(|i| map[i].1);
        tensors.retain(|(file, entry)| file_of(&entry.name) == Some(*file));
        for (name, file) in map {
            if tensors.binary_search_by(|(_, entry)| entry.name.cmp(name)).is_err() {
                let shard = self.files[*file].file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(malformed(path, name, format!("it in {shard}"), "a shard without it"));
            }
        }
        Ok(())
    }
}

fn from_index(format: &'static Format, folder: &Path, index: PathBuf) -> Result<Source, LoadError> {
    let map = read_index(&index)?;
    let names = shards(&map);
    for name in &names {
        let file = folder.join(name);
        if !file.exists() {
            let named = format!("no such file, {} names it", index.file_name().unwrap_or_default().display());
            let source = io::Error::new(io::ErrorKind::NotFound, named);
            return Err(LoadError::Io { path: file, source });
        }
    }
    let files = names.iter().map(|name| folder.join(name)).collect();
    let position = |file: &String| names.binary_search(file).expect("`names` was made of these names");
    let map = map.iter().map(|(name, file)| (name.clone(), position(file))).collect();
    Ok(Source { format, files, index: Some((index, map)) })
}

/// The file names of an index, in order, each once.
pub(crate) fn shards(map: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = map.iter().map(|(_, file)| file.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Weights and their files, in order of the weights' names; every file lies in the index's own folder.
pub(crate) fn read_index(index: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let text = fs::read(index).map_err(|source| LoadError::Io { path: index.to_owned(), source })?;
    let parsed: Index =
        serde_json::from_slice(&text).map_err(|source| LoadError::Json { path: index.to_owned(), source })?;
    let mut map = parsed.weight_map.0;
    map.sort();
    if let Some(pair) = map.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(malformed(index, &pair[0].0, "one entry of this name", "several"));
    }
    for (_, name) in &map {
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(malformed(index, "weight_map", "names of files in the same folder", format!("'{name}'")));
        }
    }
    Ok(map)
}

/// The part of an index file that matters.
#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Weight and file, in the order of the index, so that a name that occurs twice is not lost.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of weight and file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(WeightMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
