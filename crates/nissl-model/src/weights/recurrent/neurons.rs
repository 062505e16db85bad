//! The weights of a recurrent model's units.

use std::ops::Range;

use ndarray::{Array1, Array2};
use nissl_core::{HookPoint, Linear, Site};

use super::part;
use crate::arch::{Cell, CellKind, Recurrent, Values};
use crate::checkpoint::Checkpoint;
use crate::engine::Vector;
use crate::error::LoadError;
use crate::weights::neurons::{Answer, unit_vectors};
use crate::weights::stored::Stored;

/// What gates read of the layer's input.
pub(in crate::weights) fn reads(
    checkpoint: &Checkpoint,
    model: &Recurrent,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    let layer = usize::from(point.layer().unwrap_or(0));
    rows(checkpoint, model, point, units, model.d_in(layer), |cell| {
        (&cell.input, cell.input_bias.as_ref().map(Vector::values), 0)
    })
}

/// What gates read of the layer's state before.
pub(in crate::weights) fn reads_state(
    checkpoint: &Checkpoint,
    model: &Recurrent,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    if model.kind == CellKind::MultiplicativeLstm {
        return Ok(Err("its gates read the product lstm_m in place of the state".to_owned()));
    }
    let own = model.d_state;
    rows(checkpoint, model, point, units, model.d_out(), |cell| {
        (&cell.hidden, cell.hidden_bias.as_ref().map(Vector::values), own)
    })
}

/// Rows of the gates' matrices `[n_units, width]`; `of` says which, and how far apart those of the directions begin.
fn rows(
    checkpoint: &Checkpoint,
    model: &Recurrent,
    point: HookPoint,
    units: Range<usize>,
    width: usize,
    of: impl Fn(&Cell) -> (&Values, Option<&[f32]>, usize),
) -> Answer<Linear> {
    let Some(gate) = model.kind.gates().iter().position(|gate| *gate == point.site()) else {
        let (site, first) = (point.site(), model.kind.gates()[0]);
        return Ok(Err(format!("no row of a matrix makes a unit of {site}: ask for its gates, such as {first}")));
    };
    let (h, layer) = (model.d_hidden, usize::from(point.layer().unwrap_or(0)));
    let mut weights = Array2::zeros((units.len(), width));
    let mut biases = Some(Array1::zeros(units.len()));
    for direction in 0..model.n_directions {
        let own = units.start.max(direction * h)..units.end.min((direction + 1) * h);
        if own.is_empty() {
            continue;
        }
        let cell = (model.cell)(checkpoint, model, layer, direction)?;
        let (values, bias, apart) = of(&cell);
        let weight = values.weight();
        let n_in = weight.shape()[1];
        for unit in own {
            let (row, place) = (gate * h + unit % h, unit - units.start);
            let mut to = vec![0.0; n_in];
            weight.decode(row * n_in, &mut to);
            let first = direction * apart;
            weights.row_mut(place).iter_mut().skip(first).zip(to).for_each(|(to, value)| *to = value);
            match (bias, &mut biases) {
                (Some(bias), Some(biases)) => biases[place] = bias[row],
                _ => biases = None,
            }
        }
    }
    Ok(Ok(Linear { weights, bias: biases }))
}

/// What units add to what the next layer, or the head, reads.
pub(in crate::weights) fn writes(point: HookPoint, units: Range<usize>, width: usize) -> Result<Linear, String> {
    match point.site() {
        Site::Embed | Site::ResidPre | Site::LstmH | Site::GruH | Site::ResidPost => Ok(unit_vectors(units, width)),
        _ => Err("it writes through the state: ask for lstm_h or gru_h".to_owned()),
    }
}

/// Rows of the unembedding.
pub(in crate::weights) fn unembedding(
    checkpoint: &Checkpoint,
    model: &Recurrent,
    tokens: Range<usize>,
) -> Result<Linear, LoadError> {
    let decoder = model.decoder.as_ref().ok_or_else(|| LoadError::MissingWeight {
        path: checkpoint.path().to_owned(),
        name: "decoder.weight".to_owned(),
        nearest: None,
    })?;
    let part = part(checkpoint, model, decoder)?;
    let stored = Stored {
        weight: part.weight,
        transposed: part.transposed,
        first: 0,
        order: &[],
        bias: part.bias.map(|bias| bias.values),
    };
    Ok(stored.outputs(tokens))
}

/// Whether what a point holds is read at another (by the head, if `None`) as it is.
pub(in crate::weights) fn is_joined(model: &Recurrent, from: Option<HookPoint>, to: Option<HookPoint>) -> bool {
    let after = match from {
        None => 0,
        Some(from) => match (from.site(), from.layer()) {
            (Site::Embed, _) => 0,
            (Site::ResidPre, Some(layer)) => usize::from(layer),
            (Site::LstmH | Site::GruH | Site::ResidPost, Some(layer)) => usize::from(layer) + 1,
            _ => return false,
        },
    };
    match to {
        None => after == model.n_layers && model.average.is_none(),
        Some(to) => {
            let gate = model.kind.gates().contains(&to.site());
            gate && to.layer().is_some_and(|layer| usize::from(layer) == after)
        }
    }
}
