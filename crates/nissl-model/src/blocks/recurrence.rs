//! A layer of LSTM, GRU or SSRU over packed sentences, with a hook at every gate, cell and state within the recurrence.
//!
//! Letters: T rows of the group, N sentences that have a step, H units. What the input gives to the gates is one
//! product for several steps; a step then takes all sentences that have it together.

use std::ops::Range;
use std::rc::Rc;

use nissl_core::{HookPoint, Site, Stack};

use crate::arch::CellKind;
use crate::engine::{Activation, Engine, Epilogue, Flow, Halt, Packing, Part};
use crate::hooks::{Hooks, RowEdits, side_by_side};
use crate::skeletons::{At, LayerPast};

/// A layer, in one direction or two.
pub(crate) struct Recurrence<P: Packing> {
    pub(crate) directions: Vec<Direction<P>>,
}

/// The weights of a layer in a direction.
pub(crate) struct Direction<P: Packing> {
    pub(crate) kind: CellKind,
    /// What the input gives to the gates, `[n_in, n_gates H]`; behind that, of a multiplicative LSTM, what the state is
    /// multiplied with.
    pub(crate) input: P::Linear,
    /// What the state gives to the gates, `[d_state, n_gates H]`; none if they read the input alone (SSRU).
    pub(crate) hidden: Option<P::Linear>,
    /// Of a multiplicative LSTM: what of the state is multiplied, `[d_state, H]`.
    pub(crate) multiplier: Option<P::Linear>,
    /// `[H, d_state]`.
    pub(crate) projection: Option<P::Linear>,
    pub(crate) d_hidden: usize,
    pub(crate) d_state: usize,
}

/// What a step computes and may keep: one tensor, whose sites are side by side.
struct Slot {
    sites: &'static [Site],
    /// Of each site.
    width: usize,
    /// Whether the next step needs it.
    carried: bool,
}

impl<P: Packing> Direction<P> {
    /// The slots in the order in which a step computes them; the last one is the hidden state.
    fn slots(&self) -> Vec<Slot> {
        let (h, d_state) = (self.d_hidden, self.d_state);
        let slot = |sites, width, carried| Slot { sites, width, carried };
        let mut slots = match self.kind {
            CellKind::Gru => vec![slot(&[Site::GruR, Site::GruZ], h, false), slot(&[Site::GruN], h, false)],
            CellKind::Lstm | CellKind::MultiplicativeLstm => vec![
                slot(&[Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO], h, false),
                slot(&[Site::LstmC], h, true),
            ],
            CellKind::Ssru => {
                vec![slot(&[Site::SsruF], h, false), slot(&[Site::SsruG], h, false), slot(&[Site::SsruC], h, true)]
            }
        };
        if self.kind == CellKind::MultiplicativeLstm {
            slots.insert(0, slot(&[Site::LstmM], h, false));
        }
        slots.push(match self.kind {
            CellKind::Gru => slot(&[Site::GruH], d_state, true),
            CellKind::Lstm | CellKind::MultiplicativeLstm => slot(&[Site::LstmH], d_state, true),
            CellKind::Ssru => slot(&[Site::SsruH], d_state, false),
        });
        slots
    }

    fn linears(&self) -> impl Iterator<Item = &P::Linear> {
        [&self.input].into_iter().chain(&self.hidden).chain(&self.multiplier).chain(&self.projection)
    }

    /// The widths of what the next step needs.
    fn carried(&self) -> Vec<usize> {
        self.slots().iter().filter(|slot| slot.carried).map(|slot| slot.width).collect()
    }
}

/// The rows of a group as a recurrence takes them: each sentence behind its padding.
pub(crate) struct Layout {
    /// Where each sentence starts, with its padding, and where the last one ends.
    pub(crate) offsets: Vec<usize>,
    /// The group's row that each row is; none for padding.
    group_row: Vec<Option<usize>>,
    /// The row of each of the group's rows.
    pub(crate) rows: Vec<usize>,
}

impl Layout {
    /// Sentences that start at `offsets`, each filled up to `window` rows, where there is one.
    pub(crate) fn new(offsets: &[usize], window: Option<usize>) -> Self {
        let (mut padded, mut group_row, mut rows) = (vec![0], Vec::new(), Vec::new());
        for sentence in offsets.windows(2) {
            let len = sentence[1] - sentence[0];
            let padding = if len == 0 { 0 } else { window.map_or(0, |window| window.saturating_sub(len)) };
            group_row.extend(std::iter::repeat_n(None, padding));
            for row in sentence[0]..sentence[1] {
                rows.push(group_row.len());
                group_row.push(Some(row));
            }
            padded.push(group_row.len());
        }
        Self { offsets: padded, group_row, rows }
    }

    /// Whether there is any padding.
    pub(crate) fn is_padded(&self) -> bool {
        self.rows.len() < self.group_row.len()
    }

    /// Number of rows, with padding.
    pub(crate) fn n_rows(&self) -> usize {
        self.group_row.len()
    }

    /// For every row, where it is in `[the group's rows, a row of padding]`.
    pub(crate) fn places(&self) -> Vec<(usize, usize)> {
        self.group_row.iter().map(|row| row.map_or((1, 0), |row| (0, row))).collect()
    }
}

/// Which rows are computed together: the n-th of each sentence that has one, the longest sentences first.
struct Steps {
    /// The sentences in the order in which they stand in a step.
    sentences: Vec<usize>,
    rows: Vec<Vec<usize>>,
    /// Of every row its step and its place there.
    places: Vec<(usize, usize)>,
}

impl Steps {
    fn new(layout: &Layout, backward: bool) -> Self {
        let rows_of = |sentence: usize| layout.offsets[sentence]..layout.offsets[sentence + 1];
        let mut sentences: Vec<usize> = (0..layout.offsets.len() - 1).collect();
        sentences.sort_by_key(|&sentence| std::cmp::Reverse(rows_of(sentence).len()));
        let n_steps = sentences.first().map_or(0, |&longest| rows_of(longest).len());
        let mut places = vec![(0, 0); layout.group_row.len()];
        let mut steps = Vec::with_capacity(n_steps);
        for step in 0..n_steps {
            let having = sentences.iter().map(|&sentence| rows_of(sentence)).take_while(|rows| rows.len() > step);
            let rows: Vec<usize> =
                having.map(|rows| if backward { rows.end - 1 - step } else { rows.start + step }).collect();
            for (place, &row) in rows.iter().enumerate() {
                places[row] = (step, place);
            }
            steps.push(rows);
        }
        Self { sentences, rows: steps, places }
    }
}

impl Steps {
    /// Steps one behind the other that have [`GIVEN`] rows together.
    fn chunks(&self) -> Vec<Range<usize>> {
        let mut chunks: Vec<Range<usize>> = Vec::new();
        let mut n_rows = GIVEN;
        for (step, rows) in self.rows.iter().enumerate() {
            match chunks.last_mut() {
                Some(chunk) if n_rows < GIVEN => chunk.end = step + 1,
                _ => {
                    chunks.push(step..step + 1);
                    n_rows = 0;
                }
            }
            n_rows += rows.len();
        }
        chunks
    }

    /// What the last step of each sentence left, or what was there `before`, `[n_sentences, width]`.
    fn last<E: Engine>(&self, engine: &E, parts: &[E::Tensor], before: &E::Tensor) -> E::Tensor {
        let mut places: Vec<(usize, usize)> = (0..self.sentences.len()).map(|sentence| (0, sentence)).collect();
        for (step, rows) in self.rows.iter().enumerate() {
            for (place, &sentence) in self.sentences[..rows.len()].iter().enumerate() {
                // The steps' parts begin with what was there before them.
                places[sentence] = (step + 2, place);
            }
        }
        let parts: Vec<&E::Tensor> = [before].into_iter().chain(parts).collect();
        engine.gather(&parts, &places)
    }
}

/// Rows of the product that gives several steps their input, or somewhat more: they stay in cache.
const GIVEN: usize = 256;

/// What the steps of a direction gave, of every slot what was before the first one and after each.
type Record<E> = Vec<Vec<<E as Engine>::Tensor>>;

impl<P: Packing> Recurrence<P> {
    /// Its products.
    pub(crate) fn linears(&self) -> impl Iterator<Item = &P::Linear> {
        self.directions.iter().flat_map(Direction::linears)
    }

    /// The past of sentences that have nothing behind them, of a layer that does not run backward.
    pub(crate) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> LayerPast<E> {
        let widths = self.directions[0].carried().into_iter();
        LayerPast::States(widths.map(|width| engine.embed(n_sentences, width, &|_, _| {})).collect())
    }

    /// The states `[T, n_directions d_state]` of x `[T, n_in]`, every sentence from what its past left or from a state
    /// of zeros on.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        layout: &Layout,
        block: (Stack, u16),
        hooks: &Hooks<'_>,
        mut past: Option<At<'_, E>>,
    ) -> Result<E::Tensor, Halt> {
        let runs: Vec<(Steps, Record<E>)> = self
            .directions
            .iter()
            .enumerate()
            .map(|(idx, direction)| {
                let steps = Steps::new(layout, idx == 1);
                let sites = Sites::new(block, hooks, (idx, self.directions.len()), direction, past.is_some());
                let record = direction.forward(engine, x, layout, &steps, &sites, &mut past)?;
                Ok((steps, record))
            })
            .collect::<Result<_, Halt>>()?;
        let slots = self.directions[0].slots();
        for (number, slot) in slots.iter().enumerate() {
            for (idx, &site) in slot.sites.iter().enumerate() {
                if hooks.captures_at(at(block, site)) {
                    let columns = idx * slot.width..(idx + 1) * slot.width;
                    let mut values = joined(engine, &runs, number, &columns, &layout.rows);
                    hooks.deliver(engine, at(block, site), &mut values)?;
                }
            }
        }
        let every: Vec<usize> = (0..layout.group_row.len()).collect();
        Ok(joined(engine, &runs, slots.len() - 1, &(0..self.directions[0].d_state), &every))
    }
}

fn at((stack, layer): (Stack, u16), site: Site) -> HookPoint {
    HookPoint::of(stack, layer, site)
}

/// The chosen rows of some columns of a slot, all directions side by side.
fn joined<E: Engine>(
    engine: &E,
    runs: &[(Steps, Record<E>)],
    slot: usize,
    columns: &Range<usize>,
    rows: &[usize],
) -> E::Tensor {
    let of_direction = |(steps, record): &(Steps, Record<E>)| {
        let parts: Vec<&E::Tensor> = record[slot].iter().collect();
        let places: Vec<(usize, usize)> =
            rows.iter().map(|&row| (steps.places[row].0 + 1, steps.places[row].1)).collect();
        engine.gather(&parts, &places)
    };
    let parts: Vec<E::Tensor> = runs.iter().map(of_direction).collect();
    let parts: Vec<(&E::Tensor, Range<usize>)> = parts.iter().map(|part| (part, columns.clone())).collect();
    engine.beside(&parts)
}

/// The edits of a layer's sites in a direction, and what is to be kept of every step, by slots.
struct Sites<'a> {
    edits: Vec<Vec<RowEdits<'a>>>,
    keeps: Vec<bool>,
}

impl<'a> Sites<'a> {
    fn new<P: Packing>(
        block: (Stack, u16),
        hooks: &'a Hooks<'_>,
        (idx, n): (usize, usize),
        direction: &Direction<P>,
        has_past: bool,
    ) -> Self {
        let slots = direction.slots();
        let edits = |slot: &Slot| {
            let of_site = |&site: &Site| hooks.by_row(at(block, site), n * slot.width, idx * slot.width);
            slot.sites.iter().map(of_site).collect()
        };
        let keeps = |(number, slot): (usize, &Slot)| {
            let captured = slot.sites.iter().any(|&site| hooks.captures_at(at(block, site)));
            captured || slot.carried && has_past || number + 1 == slots.len()
        };
        Self { edits: slots.iter().map(edits).collect(), keeps: slots.iter().enumerate().map(keeps).collect() }
    }
}

/// What the input gives to the gates of a step `[N, n_gates H]`: some rows of what it gives to several.
struct Given<E: Engine> {
    all: Rc<E::Tensor>,
    rows: Range<usize>,
}

impl<P: Packing> Direction<P> {
    fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        layout: &Layout,
        steps: &Steps,
        sites: &Sites<'_>,
        past: &mut Option<At<'_, E>>,
    ) -> Result<Record<E>, Halt> {
        let slots = self.slots();
        let first = &steps.sentences[..steps.rows.first().map_or(0, Vec::len)];
        let zeros = |width| engine.embed(first.len(), width, &|_, _| {});
        let mut kept = match past {
            Some(At { past: LayerPast::States(states), .. }) => states.iter(),
            _ => [].iter(),
        };
        let before = |(number, slot): (usize, &Slot)| {
            let kept = if slot.carried { kept.next() } else { None };
            let width = if slot.carried || sites.keeps[number] { slot.sites.len() * slot.width } else { 1 };
            vec![kept.map_or_else(|| zeros(width), |kept| engine.rows(kept, first))]
        };
        let mut record: Record<E> = slots.iter().enumerate().map(before).collect();
        for (rows, given) in steps.rows.iter().zip(self.given(engine, x, steps)) {
            let group_rows: Vec<Option<usize>> = rows.iter().map(|&row| layout.group_row[row]).collect();
            let carried = slots.iter().zip(&record).filter(|(slot, _)| slot.carried);
            let last = carried.filter_map(|(_, parts)| parts.last());
            let before: Vec<Part<'_, E::Tensor>> = last.map(|last| engine.first(last, rows.len())).collect();
            let show = |slot: usize, x: &mut E::Tensor| -> Flow {
                let width = slots[slot].width;
                for (idx, edits) in sites.edits[slot].iter().enumerate() {
                    edit(engine, edits, x, idx * width..(idx + 1) * width, &group_rows)?;
                }
                Ok(())
            };
            let now = self.step(engine, &given, &before, &show)?;
            for (number, (now, parts)) in now.into_iter().zip(&mut record).enumerate() {
                if sites.keeps[number] {
                    parts.push(now);
                } else if slots[number].carried {
                    *parts = vec![now];
                }
            }
        }
        if let Some(At { past: LayerPast::States(states), grows: true }) = past {
            let carried = slots.iter().zip(&record).filter(|(slot, _)| slot.carried);
            for (state, (_, parts)) in states.iter_mut().zip(carried) {
                *state = steps.last(engine, parts, state);
            }
        }
        Ok(record)
    }

    /// What the input x gives to each step.
    fn given<'a, E: Engine<Packing = P>>(
        &'a self,
        engine: &'a E,
        x: &'a E::Tensor,
        steps: &'a Steps,
    ) -> impl Iterator<Item = Given<E>> + 'a {
        steps.chunks().into_iter().flat_map(move |chunk| {
            let steps = &steps.rows[chunk];
            let all = Rc::new(engine.linear(&engine.rows(x, &steps.concat()), &self.input, Epilogue::None));
            steps.iter().scan(0, move |start, rows| {
                let given = Given { all: Rc::clone(&all), rows: *start..*start + rows.len() };
                *start += rows.len();
                Some(given)
            })
        })
    }

    /// The slots after a step of what the input gives `[N, n_gates H]` and what the step before left; each is shown
    /// before anything is made of it.
    fn step<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        given: &Given<E>,
        before: &[Part<'_, E::Tensor>],
        show: &dyn Fn(usize, &mut E::Tensor) -> Flow,
    ) -> Result<Vec<E::Tensor>, Halt> {
        let h = self.d_hidden;
        let part = |x: &E::Tensor, columns: Range<usize>| engine.beside(&[(x, columns)]);
        let given_rows = || engine.rows(&given.all, &given.rows.clone().collect::<Vec<_>>());
        let state: &E::Tensor = &before[before.len() - 1];
        let Some(hidden) = &self.hidden else {
            let given = given_rows();
            let mut forget = engine.activate(&part(&given, 0..h), Activation::Sigmoid);
            show(0, &mut forget)?;
            let mut new = part(&given, h..2 * h);
            show(1, &mut new)?;
            let mut cell = engine.blend(&forget, state, &new);
            show(2, &mut cell)?;
            let mut state = engine.activate(&cell, Activation::Relu);
            show(3, &mut state)?;
            return Ok(vec![forget, new, cell, state]);
        };
        if self.kind == CellKind::Gru {
            let given = given_rows();
            let hidden = engine.linear(state, hidden, Epilogue::None);
            let sum = engine.add(&part(&given, 0..2 * h), &part(&hidden, 0..2 * h));
            let mut gates = engine.activate(&sum, Activation::Sigmoid);
            show(0, &mut gates)?;
            let reset = engine.multiply(&part(&gates, 0..h), &part(&hidden, 2 * h..3 * h));
            let mut new = engine.activate(&engine.add(&part(&given, 2 * h..3 * h), &reset), Activation::Tanh);
            show(1, &mut new)?;
            let mut state = engine.blend(&part(&gates, h..2 * h), state, &new);
            show(2, &mut state)?;
            return Ok(vec![gates, new, state]);
        }
        let mut slots = Vec::new();
        let pre = if let Some(multiplier) = &self.multiplier {
            let given = given_rows();
            let mut product =
                engine.multiply(&part(&given, 4 * h..5 * h), &engine.linear(state, multiplier, Epilogue::None));
            show(0, &mut product)?;
            let pre = engine.linear(&product, hidden, Epilogue::Add(&part(&given, 0..4 * h)));
            slots.push(product);
            pre
        } else {
            engine.linear(state, hidden, Epilogue::AddRows(&given.all, given.rows.start))
        };
        let mut gates = engine.lstm_gates(pre);
        show(slots.len(), &mut gates)?;
        let mut cell = engine.lstm_cell(&gates, &before[0]);
        show(slots.len() + 1, &mut cell)?;
        let mut state = engine.lstm_state(&gates, &cell);
        if let Some(projection) = &self.projection {
            state = engine.linear(&state, projection, Epilogue::None);
        }
        show(slots.len() + 2, &mut state)?;
        slots.extend([gates, cell, state]);
        Ok(slots)
    }
}

/// Makes the edits of a step's rows `[N, columns]`; padding is left as it is.
fn edit<E: Engine>(
    engine: &E,
    edits: &RowEdits<'_>,
    x: &mut E::Tensor,
    columns: Range<usize>,
    rows: &[Option<usize>],
) -> Flow {
    if !rows.iter().flatten().any(|&row| edits.concern(row)) {
        return Ok(());
    }
    engine.visit(x, columns, &mut |mut values| {
        for (place, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let (mut now, mut slope) =
                (values.now.row_mut(place), values.slope.as_mut().map(|slope| slope.row_mut(place)));
            edits.apply(*row, side_by_side(&mut now), slope.as_mut().map(side_by_side));
        }
        edits.want(rows, &mut values);
        Ok(())
    })
}
