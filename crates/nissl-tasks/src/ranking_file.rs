//! Scores as a Parquet table, one row a concept and neuron, and back to the same [`Scores`].
//!
//! Columns: `concept, rank, neuron, layer, site, idx, score, sign, constant`; rows in order of concept, then rank.
//! The provenance and the list of concepts are JSON in the file's key-value metadata (`nissl.provenance`,
//! `nissl.concepts`), so DuckDB, Polars and pandas read the table and nissl reads all of it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float32Array, Int8Array, RecordBatch, StringArray,
    UInt16Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int8Type, Int32Type, Schema, UInt32Type};
use ndarray::Array2;
use nissl_core::{Concept, HookPoint, NameError, NeuronId, Provenance, Scores, Significance, Site, Stack};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::error::TaskError;
use crate::output::write_whole;

const PROVENANCE: &str = "nissl.provenance";
const CONCEPTS: &str = "nissl.concepts";

/// Writes scores as a table; the file appears whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn save_ranking(path: &Path, scores: &Scores) -> Result<(), TaskError> {
    let (provenance, concepts) = (&scores.provenance, scores.concepts());
    let metadata = |key: &str, value: Result<String, serde_json::Error>| {
        value.map(|value| KeyValue::new(key.to_owned(), value)).map_err(std::io::Error::from)
    };
    write_whole(path, |file| {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![
                metadata(PROVENANCE, serde_json::to_string(provenance))?,
                metadata(CONCEPTS, serde_json::to_string(concepts))?,
            ]))
            .build();
        let mut writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
        for concept_idx in 0..concepts.len() {
            writer.write(&concept_table(scores, concept_idx).map_err(std::io::Error::other)?)?;
        }
        writer.close()?;
        Ok(())
    })
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("concept", dictionary(), false),
        Field::new("rank", DataType::UInt32, false),
        Field::new("neuron", DataType::Utf8, false),
        Field::new("layer", DataType::UInt16, true),
        Field::new("site", dictionary(), false),
        Field::new("idx", DataType::UInt32, false),
        Field::new("score", DataType::Float32, false),
        Field::new("sign", DataType::Int8, true),
        Field::new("constant", DataType::Boolean, false),
        Field::new("p", DataType::Float32, true),
        Field::new("q", DataType::Float32, true),
    ]))
}

/// The rows of one concept, best neuron first; `rank` counts from 1.
fn concept_table(scores: &Scores, concept_idx: usize) -> Result<RecordBatch, arrow::error::ArrowError> {
    let (neurons, values) = (scores.neurons(), scores.values().row(concept_idx));
    let mut order: Vec<usize> = (0..neurons.len()).collect();
    let constant = scores.constant();
    // The order of `Ranking`: constant neurons last, then by score, ties by neuron.
    order.sort_by(|&a, &b| {
        let by_score = constant[a].cmp(&constant[b]).then_with(|| values[b].total_cmp(&values[a]));
        by_score.then_with(|| neurons[a].cmp(&neurons[b]))
    });
    let name = scores.concepts()[concept_idx].name.as_str();
    let chance = |of: &dyn Fn(&Significance) -> f32| scores.significance().map(of);
    let sites: DictionaryArray<Int32Type> =
        order.iter().map(|&i| site_name(neurons[i].point)).collect::<Vec<_>>().iter().map(String::as_str).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(std::iter::repeat_n(name, order.len()).collect::<DictionaryArray<Int32Type>>()),
        Arc::new(UInt32Array::from_iter_values(1..=order.len() as u32)),
        Arc::new(StringArray::from_iter_values(order.iter().map(|&i| neurons[i].to_string()))),
        Arc::new(order.iter().map(|&i| neurons[i].point.layer()).collect::<UInt16Array>()),
        Arc::new(sites),
        Arc::new(UInt32Array::from_iter_values(order.iter().map(|&i| neurons[i].idx))),
        Arc::new(Float32Array::from_iter_values(order.iter().map(|&i| values[i]))),
        Arc::new(order.iter().map(|&i| scores.sign().map(|sign| sign[(concept_idx, i)])).collect::<Int8Array>()),
        Arc::new(order.iter().map(|&i| Some(constant[i])).collect::<BooleanArray>()),
        Arc::new(order.iter().map(|&i| chance(&|s| s.p[(concept_idx, i)])).collect::<Float32Array>()),
        Arc::new(order.iter().map(|&i| chance(&|s| s.q[(concept_idx, i)])).collect::<Float32Array>()),
    ];
    RecordBatch::try_new(schema(), columns)
}

/// Reads a table that [`save_ranking`] wrote back to the same scores, bit for bit.
///
/// # Errors
/// If the file cannot be read, was not written by nissl, or a row is missing, twice or not of its neuron.
pub fn load_ranking(path: &Path) -> Result<Scores, TaskError> {
    let file = File::open(path).map_err(|source| TaskError::io("read", path, source))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|err| format_error(path, "a Parquet table of rankings", err.to_string()))?;
    let metadata = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let provenance: Provenance = metadata_json(path, &metadata, PROVENANCE)?;
    let concepts: Vec<Concept> = metadata_json(path, &metadata, CONCEPTS)?;
    if reader.schema().fields() != schema().fields() {
        return Err(format_error(path, "the columns of a ranking", column_names(reader.schema())));
    }
    let n_rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let reader = reader.build().map_err(|err| format_error(path, "a Parquet table", err.to_string()))?;
    read_rows(path, reader, n_rows, concepts, provenance)
}

fn format_error(path: &Path, expected: &str, got: impl Into<String>) -> TaskError {
    TaskError::Format { path: path.to_owned(), expected: expected.to_owned(), got: got.into() }
}

fn column_names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

fn metadata_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    metadata: &[KeyValue],
    key: &str,
) -> Result<T, TaskError> {
    let text = metadata.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref());
    let text = text.ok_or_else(|| format_error(path, "a ranking written by nissl", format!("no {key} in it")))?;
    serde_json::from_str(text).map_err(|err| format_error(path, &format!("{key} as JSON"), err.to_string()))
}

fn read_rows(
    path: &Path,
    reader: ParquetRecordBatchReader,
    n_rows: usize,
    concepts: Vec<Concept>,
    provenance: Provenance,
) -> Result<Scores, TaskError> {
    let wrong = |got: String| format_error(path, "every concept with every neuron once", got);
    let n_neurons = if concepts.is_empty() { 0 } else { n_rows / concepts.len() };
    if n_neurons * concepts.len() != n_rows {
        return Err(wrong(format!("{n_rows} rows for {} concepts", concepts.len())));
    }
    let mut rows: Vec<Row> = Vec::with_capacity(n_rows);
    for batch in reader {
        rows.extend(batch_rows(&batch.map_err(|err| format_error(path, "a Parquet table", err.to_string()))?)?);
    }
    if rows.len() != n_rows {
        return Err(wrong(format!("{} rows where the file speaks of {n_rows}", rows.len())));
    }
    let mut neurons: Vec<(NeuronId, bool)> =
        rows.iter().take(n_neurons).map(|row| (row.neuron, row.constant)).collect();
    neurons.sort_unstable();
    let constant = neurons.iter().map(|(_, constant)| *constant).collect();
    let neurons: Vec<NeuronId> = neurons.into_iter().map(|(neuron, _)| neuron).collect();

    let mut values = Array2::from_elem((concepts.len(), n_neurons), f32::NAN);
    let mut signs = rows.first().and_then(|row| row.sign).map(|_| Array2::zeros((concepts.len(), n_neurons)));
    let chances = || Array2::from_elem((concepts.len(), n_neurons), 1.0);
    let mut significance =
        rows.first().and_then(|row| row.chances).map(|_| Significance { p: chances(), q: chances() });
    for (row_idx, row) in rows.iter().enumerate() {
        let concept_idx = row_idx / n_neurons;
        let neuron_idx = neurons
            .binary_search(&row.neuron)
            .map_err(|_| wrong(format!("{} in row {row_idx} of concept {}", row.neuron, concept_idx + 1)))?;
        let value = &mut values[(concept_idx, neuron_idx)];
        if row.score.is_nan() {
            return Err(wrong(format!("no score for {} and '{}'", row.neuron, concepts[concept_idx].name)));
        }
        if !value.is_nan() {
            return Err(wrong(format!("{} twice for '{}'", row.neuron, concepts[concept_idx].name)));
        }
        *value = row.score;
        if let Some(signs) = &mut signs {
            signs[(concept_idx, neuron_idx)] = row.sign.unwrap_or(0);
        }
        if let (Some(significance), Some((p, q))) = (&mut significance, row.chances) {
            significance.p[(concept_idx, neuron_idx)] = p;
            significance.q[(concept_idx, neuron_idx)] = q;
        }
    }
    let mut scores = Scores::new(values, concepts, neurons, provenance)?.with_constant(constant)?;
    if let Some(significance) = significance {
        scores = scores.with_significance(significance)?;
    }
    Ok(match signs {
        Some(signs) => scores.with_sign(signs)?,
        None => scores,
    })
}

struct Row {
    neuron: NeuronId,
    score: f32,
    sign: Option<i8>,
    constant: bool,
    /// Chance and false discovery rate.
    chances: Option<(f32, f32)>,
}

/// `mlp_post`, or `encoder.mlp_post` in models with an encoder and a decoder.
fn site_name(point: HookPoint) -> String {
    format!("{}{}", point.stack().prefix(), point.site().short())
}

/// The same read back.
fn site_of_name(name: &str) -> Result<(Stack, Site), NameError> {
    let mut prefixed = [Stack::Encoder, Stack::Decoder].into_iter();
    let found = prefixed.find_map(|stack| Some((stack, name.strip_prefix(stack.prefix())?)));
    let (stack, site) = found.unwrap_or((Stack::Only, name));
    Ok((stack, site.parse()?))
}

/// The rows of a batch whose columns were checked against [`schema`].
fn batch_rows(batch: &RecordBatch) -> Result<Vec<Row>, TaskError> {
    let layer = batch.column(3).as_primitive::<arrow::datatypes::UInt16Type>();
    let sites = batch.column(4).as_dictionary::<Int32Type>();
    let names = sites.values().as_string::<i32>();
    let sites_of_key =
        names.iter().map(|name| site_of_name(name.unwrap_or_default())).collect::<Result<Vec<_>, NameError>>()?;
    let idx = batch.column(5).as_primitive::<UInt32Type>();
    let score = batch.column(6).as_primitive::<Float32Type>();
    let sign = batch.column(7).as_primitive::<Int8Type>();
    let constant = batch.column(8).as_boolean();
    let p = batch.column(9).as_primitive::<Float32Type>();
    let q = batch.column(10).as_primitive::<Float32Type>();
    Ok((0..batch.num_rows())
        .map(|i| {
            let (stack, site) = sites_of_key[sites.keys().value(i) as usize];
            let layer = if layer.is_valid(i) { layer.value(i) } else { 0 };
            Row {
                neuron: NeuronId::new(HookPoint::of(stack, layer, site), idx.value(i)),
                score: score.value(i),
                sign: sign.is_valid(i).then(|| sign.value(i)),
                constant: constant.value(i),
                chances: (p.is_valid(i) && q.is_valid(i)).then(|| (p.value(i), q.value(i))),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests;
