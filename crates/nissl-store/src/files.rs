//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::manifest::FileDigest;

/// Ending of files that are being written; whatever bears it may be removed.
const TEMPORARY: &str = ".tmp";

/// The name under which `path` is written.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

/// Whether `name` is that of a file being written.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

/// Opens `path` under its temporary name, empty.
pub(crate) fn create_temporary(path: &Path) -> Result<File, StoreError> {
    let temporary = temporary(path);
    File::create(&temporary).map_err(StoreError::io("create", &temporary))
}

/// Gives `file`, written under the temporary name of `path`, its own name, once its bytes are on the disk.
pub(crate) fn publish(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all().map_err(StoreError::io("write", path))?;
    fs::rename(temporary(path), path).map_err(StoreError::io("rename", path))
}

/// Writes `bytes` as `path`, over what may be there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = create_temporary(path)?;
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    publish(&file, path)
}

/// Makes the names in a folder last.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let dir = File::open(path).map_err(StoreError::io("open", path))?;
        dir.sync_all().map_err(StoreError::io("write", path))?;
    }
    Ok(())
}

/// Makes a folder, and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(StoreError::io("create", path))
}

/// Names in a folder, sorted; none if there is no folder.
pub(crate) fn list(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("list", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("remove", path))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_all(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::format(path, "length", format!("at most {limit} bytes"), "more"));
    }
    Ok(bytes)
}

/// Reads a file that must have this digest.
pub(crate) fn read_checked(path: &Path, digest: FileDigest) -> Result<Vec<u8>, StoreError> {
    let len = open(path)?.metadata().map_err(StoreError::io("read", path))?.len();
    if len != digest.bytes {
        return Err(StoreError::format(path, "length", format!("{} bytes", digest.bytes), len));
    }
    let bytes = read_all(path, digest.bytes)?;
    let got = crc32c::crc32c(&bytes);
    if got != digest.crc32c {
        let (path, what) = (path.to_owned(), "the file".to_owned());
        return Err(StoreError::Corrupt { path, what, offset: 0, expected: digest.crc32c, got });
    }
    Ok(bytes)
}

/// Digest of a file's bytes, in hexadecimal.
pub(crate) fn digest(path: &Path) -> Result<String, StoreError> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut open(path)?, &mut hasher).map_err(StoreError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Opens a file to read.
pub(crate) fn open(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(StoreError::io("open", path))
}

/// Fills `out` with the bytes from `offset` on.
pub(crate) fn read_at(file: &File, path: &Path, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
    #[cfg(unix)]
    let done = std::os::unix::fs::FileExt::read_exact_at(file, out, offset);
    #[cfg(windows)]
    let done = windows::each(out.len(), |done| {
        std::os::windows::fs::FileExt::seek_read(file, &mut out[done..], offset + done as u64)
    });
    done.map_err(StoreError::io("read", path))
}

/// Writes all of `bytes` from `offset` on.
pub(crate) fn write_at(file: &File, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
    #[cfg(unix)]
    let done = std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    let done = windows::each(bytes.len(), |done| {
        std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], offset + done as u64)
    });
    done.map_err(StoreError::io("write", path))
}

#[cfg(windows)]
mod windows {
    use std::io;

    /// Repeats a transfer that may be cut short until `len` bytes are done.
    pub(super) fn each(len: usize, mut transfer: impl FnMut(usize) -> io::Result<usize>) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            match transfer(done)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// Held while a store is written; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    const FILE: &'static str = "writer.lock";

    /// Takes the lock of the store in `root`.
    pub(crate) fn take(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(Self::FILE);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(StoreError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: root.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path, source }),
        }
    }

    /// Gives the lock back for good: the store is complete.
    pub(crate) fn remove(self) {
        // A lock file that stays behind does no harm.
        let _ = fs::remove_file(&self.path);
    }

    /// Whether a name in a store's folder is that of the lock.
    pub(crate) fn is_lock(name: &str) -> bool {
        name == Self::FILE
    }
}
