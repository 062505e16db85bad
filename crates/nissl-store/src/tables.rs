//! The tables beside the activations: rows, sentences, statistics; a Parquet file each and part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::error::StoreError;
use crate::files;
use crate::manifest::FileDigest;

mod rows;
mod sentences;
mod stats;

pub use rows::RowTable;
pub(crate) use rows::read_labels;
pub use sentences::SentenceTable;
pub(crate) use stats::{read_moments, write_moments};

/// Folder of the rows' table.
pub(crate) const ROWS: &str = "rows";
/// Folder of the sentences' table.
pub(crate) const SENTENCES: &str = "sentences";
/// Folder of the statistics' table.
pub(crate) const STATS: &str = "stats";
/// Before the name of each label column, so that it cannot be that of another column.
const LABEL: &str = "label_";

/// Named columns of a table that is written.
#[derive(Default)]
struct Columns(Vec<(String, ArrayRef, bool)>);

impl Columns {
    fn required(&mut self, name: &str, values: impl Array + 'static) {
        self.0.push((name.to_owned(), Arc::new(values), false));
    }

    fn integers<'a, I: IntoIterator<Item = &'a u32>>(&mut self, name: &str, values: I) {
        self.required(name, Int64Array::from_iter_values(values.into_iter().map(|&value| i64::from(value))));
    }

    fn optional(&mut self, name: &str, values: &[Option<String>]) {
        let values: StringArray = values.iter().map(Option::as_deref).collect();
        self.0.push((name.to_owned(), Arc::new(values), true));
    }

    fn labels(&mut self, names: &[String], columns: &[Vec<Option<String>>]) {
        for (name, column) in names.iter().zip(columns) {
            self.optional(&format!("{LABEL}{name}"), column);
        }
    }

    /// Writes the table as `path`, over what may be there.
    fn write(self, path: &Path) -> Result<FileDigest, StoreError> {
        let error = |source| StoreError::Table { action: "write", path: path.to_owned(), source };
        let bytes = self.encode().map_err(error)?;
        files::replace(path, &bytes)?;
        Ok(FileDigest { bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) })
    }

    fn encode(self) -> Result<Vec<u8>, ParquetError> {
        let field = |(name, values, nullable): &(String, ArrayRef, bool)| {
            Field::new(name, values.data_type().clone(), *nullable)
        };
        let schema = Arc::new(Schema::new(self.0.iter().map(field).collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema.clone(), self.0.into_iter().map(|(_, values, _)| values).collect())?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    }
}

/// A table that is read: batch after batch, columns by name.
struct Batches {
    path: PathBuf,
    batches: Vec<RecordBatch>,
}

impl Batches {
    /// Reads a part that must have this digest and this many rows; only `columns`, or all of them.
    fn read(path: &Path, digest: FileDigest, n_rows: u64, columns: Option<&[String]>) -> Result<Self, StoreError> {
        let bytes = Bytes::from(files::read_checked(path, digest)?);
        // The library trusts some fields of a file so far that it panics where they lie.
        let decode = || Self::decode(path, bytes, n_rows, columns);
        std::panic::catch_unwind(decode).unwrap_or_else(|_| {
            Err(StoreError::format(path, "table", "a Parquet file", "fields that contradict each other"))
        })
    }

    fn decode(path: &Path, bytes: Bytes, n_rows: u64, columns: Option<&[String]>) -> Result<Self, StoreError> {
        let error = |source| StoreError::Table { action: "read", path: path.to_owned(), source };
        let wrong = |got: &dyn std::fmt::Display| StoreError::format(path, "number of rows", n_rows, got);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(error)?;
        let got = builder.metadata().file_metadata().num_rows();
        if u64::try_from(got).ok() != Some(n_rows) {
            return Err(wrong(&got));
        }
        let mask = columns.map_or_else(ProjectionMask::all, |names| {
            ProjectionMask::columns(builder.parquet_schema(), names.iter().map(String::as_str))
        });
        let reader = builder.with_projection(mask).build().map_err(error)?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|source| error(source.into()))?;
        let got: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if got as u64 != n_rows {
            return Err(wrong(&got));
        }
        Ok(Self { path: path.to_owned(), batches })
    }

    fn column<'a, T: Array + 'static>(
        &'a self,
        name: &str,
        kind: &str,
        cast: impl Fn(&'a dyn Array) -> Option<&'a T>,
        nullable: bool,
    ) -> Result<Vec<&'a T>, StoreError> {
        let mut arrays = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let column = batch.column_by_name(name);
            let got = column.map_or_else(|| "no such column".to_owned(), |column| column.data_type().to_string());
            let typed = column.and_then(|column| cast(column.as_ref()));
            let typed = typed.ok_or_else(|| StoreError::format(&self.path, format!("column {name}"), kind, got))?;
            if !nullable && typed.null_count() > 0 {
                return Err(StoreError::format(&self.path, format!("column {name}"), "a value in every row", "nulls"));
            }
            arrays.push(typed);
        }
        Ok(arrays)
    }

    /// Appends an integer column to `out`.
    fn integers(&self, name: &str, out: &mut Vec<u32>) -> Result<(), StoreError> {
        for array in self.column(name, "integers", |array| array.as_primitive_opt::<Int64Type>(), false)? {
            for &value in array.values() {
                let small = u32::try_from(value);
                out.push(small.map_err(|_| {
                    StoreError::format(&self.path, format!("column {name}"), "numbers from 0 to 4294967295", value)
                })?);
            }
        }
        Ok(())
    }

    /// Appends a column of strings to `out`.
    fn strings(&self, name: &str, out: &mut Vec<String>) -> Result<(), StoreError> {
        for array in self.column(name, "strings", |array| array.as_string_opt::<i32>(), false)? {
            out.extend(array.iter().map(|value| value.unwrap_or_default().to_owned()));
        }
        Ok(())
    }

    /// Appends a column of strings that may be null to `out`.
    fn optional(&self, name: &str, out: &mut Vec<Option<String>>) -> Result<(), StoreError> {
        for array in self.column(name, "strings", |array| array.as_string_opt::<i32>(), true)? {
            out.extend(array.iter().map(|value| value.map(ToOwned::to_owned)));
        }
        Ok(())
    }

    fn labels(&self, names: &[String], out: &mut [Vec<Option<String>>]) -> Result<(), StoreError> {
        for (name, column) in names.iter().zip(out) {
            self.optional(&format!("{LABEL}{name}"), column)?;
        }
        Ok(())
    }
}
