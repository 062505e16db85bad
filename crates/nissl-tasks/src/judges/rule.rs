//! A rule: what a concept, a formula or a table of words foretells.

use nissl_core::{NeuronId, Progress};

use super::{Answer, Item, Judge, Known, Question};
use crate::claims::Foretold;
use crate::error::TaskError;
use crate::tasks::judge::Config;

struct Rule<'a> {
    foretold: &'a Foretold,
    known: &'a Known<'a>,
    name: String,
}

pub(super) fn judge<'a>(config: &'a Config, known: &'a Known<'a>) -> Option<Result<Box<dyn Judge + 'a>, TaskError>> {
    let rule = |foretold| Rule { foretold, known, name: config.claim.text() };
    known.foretold.map(|foretold| Ok(Box::new(rule(foretold)) as Box<dyn Judge>))
}

impl Judge for Rule<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn judge(&self, neuron: NeuronId, items: &[Item], _progress: &dyn Progress) -> Result<Vec<Answer>, TaskError> {
        let height = self.known.heights.iter().find(|(name, ..)| *name == neuron);
        let (theta, highest) = height.map_or((0.0, 0.0), |&(_, theta, highest)| (theta, highest));
        let fires = self.foretold.fires(neuron, theta)?;
        let one = |fires: bool| f64::from(u8::from(fires));
        let shares: Vec<f64> = match self.foretold {
            Foretold::Fires(rows) => rows.iter().map(|&fires| one(fires)).collect(),
            Foretold::Values(of) => of(neuron)?
                .into_iter()
                .map(|value| if highest > 0.0 { f64::from(value / highest).clamp(0.0, 1.0) } else { 0.0 })
                .collect(),
        };
        let answer = |item: &Item| {
            let own = &fires[item.rows.clone()];
            item.checked(match item.question {
                Question::Simulation => shares[item.rows.clone()].to_vec(),
                Question::Detection => vec![one(own.contains(&true))],
                Question::Fuzzing => {
                    let n_marked = item.marks.iter().filter(|&&mark| mark).count();
                    let right = own.iter().zip(&item.marks).filter(|(fires, mark)| **fires && **mark).count();
                    vec![right as f64 / n_marked.max(1) as f64]
                }
            })
        };
        Ok(items.iter().map(answer).collect())
    }
}
