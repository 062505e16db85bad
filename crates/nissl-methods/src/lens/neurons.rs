//! Which neurons a neuron is joined to by weights.

use std::ops::Range;

use ndarray::Array1;
use nissl_core::{Context, HookPoint, Linear, MethodError, ModelError, NeuronId, NeuronWeights, Site};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Lens;
use super::tokens::{BLOCK, products};
use super::top::largest;

/// A neuron at the other end, and the weight between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// The other neuron.
    pub neuron: NeuronId,
    /// What the one reads times what the other writes.
    pub weight: f32,
    /// Whether it is the neuron's state at the position before that is read, as within a layer of LSTM.
    pub recurrent: bool,
}

/// What is read of a point: at the same position, or by a recurrent layer one later.
type Read = fn(&dyn NeuronWeights, HookPoint, Range<usize>) -> Result<Linear, ModelError>;

/// The sites that are read by a matrix.
const GATES: [Site; 4] = [Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO];

/// Some units of a point, and the vector that their rows are taken times.
struct Block {
    point: HookPoint,
    units: Range<usize>,
    vector: Array1<f32>,
    rows: Read,
    recurrent: bool,
}

impl Lens<'_> {
    /// The neurons of `sites` whose outputs weigh most in what a neuron reads, by the size of the weight.
    ///
    /// # Errors
    /// If no matrix makes the neuron, or the user stops it.
    pub fn upstream(
        self,
        neuron: NeuronId,
        sites: &[Site],
        top: usize,
        ctx: Context<'_>,
    ) -> Result<Vec<Joint>, MethodError> {
        let reader = self.reader(neuron)?;
        let mut blocks = Vec::new();
        for (point, width) in self.points(sites) {
            if let Some(vector) = self.reaching_back(&reader, Some(point), neuron.point)? {
                push(&mut blocks, point, width, &vector, |weights, point, units| weights.writes(point, units));
            }
        }
        let mut joints = joints(self.weights, &blocks, top, ctx)?;
        if GATES.contains(&neuron.point.site())
            && let Some(layer) = neuron.point.layer()
            && sites.contains(&Site::LstmH)
        {
            let idx = neuron.idx as usize;
            let row = self.weights.reads_state(neuron.point, idx..idx + 1)?.weights;
            let point = HookPoint::new(layer, Site::LstmH);
            joints.extend(row.iter().enumerate().map(|(idx, &weight)| Joint {
                neuron: NeuronId::new(point, idx as u32),
                weight,
                recurrent: true,
            }));
        }
        Ok(strongest(joints, top))
    }

    /// The neurons of `sites` in whose input a neuron's output weighs most, by the size of the weight.
    ///
    /// # Errors
    /// If the neuron writes to the stream by no matrix, or the user stops it.
    pub fn downstream(
        self,
        neuron: NeuronId,
        sites: &[Site],
        top: usize,
        ctx: Context<'_>,
    ) -> Result<Vec<Joint>, MethodError> {
        let direction = self.direction(neuron)?;
        let mut blocks = Vec::new();
        for (point, width) in self.points(sites) {
            if let Some(vector) = self.arriving(&direction, neuron.point, Some(point))? {
                push(&mut blocks, point, width, &vector, |weights, point, units| weights.reads(point, units));
            }
            if GATES.contains(&point.site())
                && neuron.point.site() == Site::LstmH
                && neuron.point.layer() == point.layer()
            {
                let first = blocks.len();
                push(&mut blocks, point, width, &direction, |weights, point, units| weights.reads_state(point, units));
                blocks[first..].iter_mut().for_each(|block| block.recurrent = true);
            }
        }
        Ok(strongest(joints(self.weights, &blocks, top, ctx)?, top))
    }

    /// Every hook point of some sites, with its width.
    fn points(self, sites: &[Site]) -> impl Iterator<Item = (HookPoint, usize)> {
        self.info.points().filter(|(point, _)| sites.contains(&point.site()))
    }
}

fn push(blocks: &mut Vec<Block>, point: HookPoint, width: usize, vector: &Array1<f32>, rows: Read) {
    blocks.extend((0..width).step_by(BLOCK).map(|first| Block {
        point,
        units: first..width.min(first + BLOCK),
        vector: vector.clone(),
        rows,
        recurrent: false,
    }));
}

/// The strongest joints of each block.
fn joints(
    weights: &dyn NeuronWeights,
    blocks: &[Block],
    top: usize,
    ctx: Context<'_>,
) -> Result<Vec<Joint>, MethodError> {
    let of_block = |block: &Block| {
        if ctx.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let rows = (block.rows)(weights, block.point, block.units.clone())?.weights;
        let joint = |(idx, weight): (usize, f32)| {
            let neuron = NeuronId::new(block.point, (block.units.start + idx) as u32);
            Joint { neuron, weight, recurrent: block.recurrent }
        };
        let all: Vec<Joint> = products(&rows, &block.vector)?.into_iter().enumerate().map(joint).collect();
        match all.iter().find(|joint| !joint.weight.is_finite()) {
            Some(joint) => {
                let what = format!("a weight of unit {} is not a finite number", joint.neuron.idx);
                Err(ModelError::NoWeights { point: joint.neuron.point, what }.into())
            }
            None => Ok(strongest(all, top)),
        }
    };
    let parts: Vec<Result<Vec<Joint>, MethodError>> = blocks.par_iter().map(of_block).collect();
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// The first by the size of the weight; of equals by neuron.
fn strongest(mut joints: Vec<Joint>, top: usize) -> Vec<Joint> {
    joints.sort_by_key(|joint| (joint.neuron, joint.recurrent));
    largest(joints.into_iter(), top, |joint| joint.weight.abs())
}
