//! Runs elsewhere than on our CPU engine: through candle, on a graphics processor where the build has one.

use ndarray::Array2;
use nissl_core::Output;

use crate::arch::Architecture;
use crate::checkpoint::Checkpoint;
use crate::engine::Halt;
use crate::error::LoadError;
use crate::hooks::Hooks;
use crate::options::Device;
use crate::weights::Embeddings;

/// Tokens that go through all layers at a time.
pub(super) const GROUP: usize = 4096;

/// What a forward pass starts from.
#[cfg_attr(not(any(test, feature = "candle")), expect(dead_code, reason = "builds without candle have no device"))]
pub(super) struct Input<'a> {
    pub(super) embeddings: &'a Embeddings,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) tokens: &'a [u32],
}

/// A model laid out on a device.
pub(super) trait Elsewhere: Send + Sync {
    /// The tokens of a group through the model; the logits, if they are asked for.
    fn run_group(&self, input: &Input<'_>, hooks: &Hooks<'_>, output: Output) -> Result<Option<Array2<f32>>, Halt>;
}

/// Lays out a model on a device; none for the CPU engine, which has it already.
pub(super) fn open(
    device: Device,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Option<Box<dyn Elsewhere>>, LoadError> {
    if device == Device::Cpu {
        return Ok(None);
    }
    #[cfg(any(test, feature = "candle"))]
    return on_candle::OnCandle::open(device, checkpoint, architecture).map(|model| Some(Box::new(model) as _));
    #[cfg(not(any(test, feature = "candle")))]
    {
        let _ = (checkpoint, architecture);
        let what = format!("this build has none: it needs the feature {}", device.name());
        Err(LoadError::Device { device: device.name(), what })
    }
}

#[cfg(any(test, feature = "candle"))]
mod on_candle {
    use super::{Array2, Device, Elsewhere, Halt, Hooks, Input, LoadError, Output};
    use crate::arch::{AnswersAt, Architecture};
    use crate::blocks::head::Head;
    use crate::checkpoint::Checkpoint;
    use crate::engine::Engine;
    use crate::engine::candle::Candle;
    use crate::skeletons::Network;
    use crate::weights;

    /// A model on a device of candle's.
    pub(super) struct OnCandle {
        engine: Candle,
        network: Network<Candle>,
        head: Option<Head<Candle>>,
        answers_at: AnswersAt,
    }

    impl OnCandle {
        pub(super) fn open(
            device: Device,
            checkpoint: &Checkpoint,
            architecture: &Architecture,
        ) -> Result<Self, LoadError> {
            let failed = |err: candle_core::Error| LoadError::Device { device: device.name(), what: err.to_string() };
            let engine = Candle::open(device).map_err(failed)?;
            let network = weights::network(&engine, checkpoint, architecture)?;
            let has_head = weights::has_head(checkpoint, architecture)?;
            let head = has_head.then(|| weights::head(&engine, checkpoint, architecture)).transpose()?;
            Ok(Self { engine, network, head, answers_at: architecture.answers_at() })
        }
    }

    impl Elsewhere for OnCandle {
        fn run_group(&self, input: &Input<'_>, hooks: &Hooks<'_>, output: Output) -> Result<Option<Array2<f32>>, Halt> {
            let Self { engine, network, head, answers_at } = self;
            let x = input.embeddings.embed_group(engine, input.checkpoint, input.tokens, hooks);
            let x = network.forward(engine, x, hooks, None)?;
            let rows = hooks.output_rows(output, *answers_at);
            Ok(match (output, head) {
                (Output::None, _) | (_, None) => None,
                (_, Some(head)) => {
                    Some(hooks.all_rows(output, engine.read(&head.forward(engine, &x, rows.as_deref()))))
                }
            })
        }
    }
}

#[cfg(test)]
mod tests;
