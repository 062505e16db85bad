//! The `zarr.json` files: what lets any Zarr v3 library read the activations.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::StoreError;
use crate::files;
use crate::layout::{Grid, site_dir};
use crate::manifest::{Manifest, SiteWidth};

/// Name of a node's metadata file.
pub(crate) const FILE: &str = "zarr.json";

/// Metadata of a group.
pub(crate) fn group() -> String {
    text(&json!({ "zarr_format": 3, "node_type": "group", "attributes": {} }))
}

/// Metadata of a site's array, `[n_rows, width]`.
pub(crate) fn array(manifest: &Manifest, site: SiteWidth, n_rows: u64) -> String {
    let grid = Grid::new(manifest.layout, site.width as usize, manifest.run.dtype.size());
    let bytes = json!({ "name": "bytes", "configuration": { "endian": "little" } });
    let crc32c = json!({ "name": "crc32c" });
    let sharding = json!({
        "chunk_shape": [grid.chunk_rows, grid.chunk_columns],
        "codecs": [{ "name": "transpose", "configuration": { "order": [1, 0] } }, bytes, crc32c],
        "index_codecs": [bytes, crc32c],
        "index_location": "end",
    });
    text(&json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": [n_rows, site.width],
        "data_type": manifest.run.dtype.name(),
        "chunk_grid": {
            "name": "regular",
            "configuration": { "chunk_shape": [grid.rows_per_shard, grid.n_across * grid.chunk_columns] },
        },
        "chunk_key_encoding": { "name": "default", "configuration": { "separator": "." } },
        "fill_value": 0.0,
        "codecs": [{ "name": "sharding_indexed", "configuration": sharding }],
        "attributes": { "hook_point": site.point },
        "dimension_names": ["row", "neuron"],
    }))
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Makes the metadata of every array say what the manifest says; writes only what differs.
///
/// It is called after the manifest was saved, so an array never promises rows that are not committed.
pub(crate) fn update(root: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for &site in &manifest.run.sites {
        put(&site_dir(root, site.point), &array(manifest, site, manifest.n_rows))?;
    }
    Ok(())
}

/// Writes the metadata of the groups.
pub(crate) fn create_groups(root: &Path) -> Result<(), StoreError> {
    put(&root.join("acts"), &group())?;
    put(root, &group())
}

fn put(dir: &Path, metadata: &str) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    let same = std::fs::read(&path).is_ok_and(|old| old == metadata.as_bytes());
    if same { Ok(()) } else { files::replace(&path, metadata.as_bytes()) }
}
