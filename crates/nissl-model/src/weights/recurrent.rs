//! The weights of recurrent models.

pub(super) mod neurons;

use super::Embeddings;
use crate::arch::{Decoder, Recurrent, Values};
use crate::blocks::head::Head;
use crate::blocks::recurrence::{Direction, Recurrence};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::{LinearPart, Packing, Vector};
use crate::error::LoadError;
use crate::skeletons::{Average, Padding, Recurrent as Network};

/// Checks name and shape of the embeddings.
pub(super) fn embeddings(checkpoint: &Checkpoint, model: &Recurrent) -> Result<Embeddings, LoadError> {
    table(checkpoint, model)?;
    let tokens = model.token_embedding.clone();
    let width = model.d_embed;
    Ok(Embeddings {
        tokens,
        positions: None,
        token_type: None,
        width,
        scale: 1.0,
        blank: None,
        sines: None,
        source: None,
    })
}

fn table<'a>(checkpoint: &'a Checkpoint, model: &Recurrent) -> Result<Weight<'a>, LoadError> {
    Weight::new(checkpoint.tensor(&model.token_embedding)?, &[Some(model.d_vocab), Some(model.d_embed)])
}

/// Lays out the layers.
pub(super) fn recurrent<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    model: &Recurrent,
) -> Result<Network<P>, LoadError> {
    let mut layers = Vec::new();
    for layer in 0..model.n_layers {
        let mut directions = Vec::new();
        for direction in 0..model.n_directions {
            let cell = (model.cell)(checkpoint, model, layer, direction)?;
            let pack =
                |values: &Values, bias: Option<Vector>| packing.pack(&[LinearPart::new(values.weight(), false, bias)]);
            let input = LinearPart::new(cell.input.weight(), false, cell.input_bias);
            let multiplied = cell.multiplier.as_ref().map(|[input, _]| LinearPart::new(input.weight(), false, None));
            let input: Vec<LinearPart<'_>> = [input].into_iter().chain(multiplied).collect();
            directions.push(Direction {
                kind: model.kind,
                input: packing.pack(&input),
                multiplier: cell.multiplier.as_ref().map(|[_, hidden]| pack(hidden, None)),
                hidden: Some(pack(&cell.hidden, cell.hidden_bias)),
                projection: cell.projection.as_ref().map(|projection| pack(projection, None)),
                d_hidden: model.d_hidden,
                d_state: model.d_state,
            });
        }
        layers.push(Recurrence { directions });
    }
    let padding = match model.window {
        None => None,
        Some(window) => {
            let mut row = vec![0.0; model.d_embed];
            table(checkpoint, model)?.decode(0, &mut row);
            Some(Padding { window, row })
        }
    };
    let average = model.average.as_ref().map(|name| average(packing, checkpoint, model, name)).transpose()?;
    Ok(Network { layers, padding, average })
}

/// An average weighted by the softmax of x · w is an attention whose queries are all (1, 0, ...), whose keys are
/// (x · w, 0, ...) and whose values are x.
fn average<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    model: &Recurrent,
    name: &str,
) -> Result<Average<P>, LoadError> {
    let width = model.d_head_in();
    let vector = checkpoint.f32(name, &[width, 1])?;
    let qkv = Values::new([3 * width, width], |row, column| match row {
        row if row == width => vector[column],
        row if row >= 2 * width => f32::from(u8::from(row - 2 * width == column)),
        _ => 0.0,
    });
    let mut bias = vec![0.0; 3 * width];
    bias[0] = 1.0;
    let qkv = packing.pack(&[LinearPart::new(qkv.weight(), false, Some(Vector::unnamed(bias)))]);
    Ok(Average { qkv, width })
}

/// Whether there is a head, whose names and shapes are then checked.
pub(super) fn has_head(checkpoint: &Checkpoint, model: &Recurrent) -> Result<bool, LoadError> {
    let Some(decoder) = &model.decoder else { return Ok(false) };
    part(checkpoint, model, decoder)?;
    Ok(true)
}

/// Lays out the head.
pub(super) fn head<P: Packing>(packing: &P, checkpoint: &Checkpoint, model: &Recurrent) -> Result<Head<P>, LoadError> {
    let decoder = model.decoder.as_ref().ok_or_else(|| LoadError::MissingWeight {
        path: checkpoint.path().to_owned(),
        name: "decoder.weight".to_owned(),
        nearest: None,
    })?;
    Ok(Head {
        dense: None,
        norm: None,
        decoder: packing.pack(&[part(checkpoint, model, decoder)?]),
        cap: None,
        scale: None,
    })
}

fn part<'a>(checkpoint: &'a Checkpoint, model: &Recurrent, decoder: &Decoder) -> Result<LinearPart<'a>, LoadError> {
    let (n_in, n_out) = (Some(model.d_head_in()), Some(decoder.n_out));
    let shape = if decoder.transposed { [n_in, n_out] } else { [n_out, n_in] };
    let weight = Weight::new(checkpoint.tensor(&decoder.weight)?, &shape)?;
    let bias = decoder.bias.as_ref().map(|name| super::vector(checkpoint, name, decoder.n_out)).transpose()?;
    Ok(LinearPart::new(weight, decoder.transposed, bias))
}
