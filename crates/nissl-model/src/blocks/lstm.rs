//! A layer of LSTM over packed sentences, with a hook at every gate, cell and state within the recurrence.
//!
//! Letters: T rows of the group, N sentences that have a step, H cells. What the input gives to the gates is one
//! product for all steps; a step then takes all sentences that have it together.

use std::ops::Range;

use nissl_core::{HookPoint, Site};

use crate::engine::{Engine, Epilogue, Flow, Halt, Packing};
use crate::hooks::{Hooks, RowEdits, side_by_side};
use crate::skeletons::{At, LayerPast};

/// The gates in their order side by side.
const GATES: [Site; 4] = [Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO];

/// A layer, in one direction or two.
pub(crate) struct Lstm<P: Packing> {
    pub(crate) directions: Vec<Direction<P>>,
}

/// The weights of a layer in a direction; gates are i, f, g, o side by side.
pub(crate) struct Direction<P: Packing> {
    /// `[n_in, 4 H]`.
    pub(crate) input: P::Linear,
    /// `[d_state, 4 H]`.
    pub(crate) hidden: P::Linear,
    /// `[H, d_state]`.
    pub(crate) projection: Option<P::Linear>,
    pub(crate) d_hidden: usize,
    pub(crate) d_state: usize,
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

/// What the steps of a direction gave, before the first one and after each.
struct Record<E: Engine> {
    gates: Vec<E::Tensor>,
    cells: Vec<E::Tensor>,
    states: Vec<E::Tensor>,
}

impl<P: Packing> Lstm<P> {
    /// The states `[T, n_directions d_state]` of x `[T, n_in]`, every sentence from what its past left or from a state
    /// of zeros on.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        layout: &Layout,
        layer: u16,
        hooks: &Hooks<'_>,
        mut past: Option<At<'_, E>>,
    ) -> Result<E::Tensor, Halt> {
        let runs: Vec<(Steps, Record<E>)> = self
            .directions
            .iter()
            .enumerate()
            .map(|(idx, direction)| {
                let steps = Steps::new(layout, idx == 1);
                let sites = Sites::new(layer, hooks, idx, self.directions.len(), direction);
                let record = direction.forward(engine, x, layout, &steps, &sites, &mut past)?;
                Ok((steps, record))
            })
            .collect::<Result<_, Halt>>()?;
        let h = self.directions[0].d_hidden;
        for (idx, site) in GATES.into_iter().enumerate() {
            let columns = idx * h..(idx + 1) * h;
            deliver(engine, &runs, |record| (&record.gates, columns.clone()), layout, at(layer, site), hooks)?;
        }
        deliver(engine, &runs, |record| (&record.cells, 0..h), layout, at(layer, Site::LstmC), hooks)?;
        let d_state = self.directions[0].d_state;
        deliver(engine, &runs, |record| (&record.states, 0..d_state), layout, at(layer, Site::LstmH), hooks)?;
        let every: Vec<usize> = (0..layout.group_row.len()).collect();
        Ok(joined(engine, &runs, &|record| (&record.states, 0..d_state), &every))
    }
}

fn at(layer: u16, site: Site) -> HookPoint {
    HookPoint::new(layer, site)
}

/// Hands what the steps gave at a point to whoever captures it.
fn deliver<'a, E: Engine>(
    engine: &E,
    runs: &'a [(Steps, Record<E>)],
    what: impl Fn(&'a Record<E>) -> (&'a Vec<E::Tensor>, Range<usize>),
    layout: &Layout,
    point: HookPoint,
    hooks: &Hooks<'_>,
) -> Flow {
    if !hooks.captures_at(point) {
        return Ok(());
    }
    hooks.deliver(engine, point, &mut joined(engine, runs, &what, &layout.rows))
}

/// The chosen rows of something that the steps gave, all directions side by side.
fn joined<'a, E: Engine>(
    engine: &E,
    runs: &'a [(Steps, Record<E>)],
    what: &dyn Fn(&'a Record<E>) -> (&'a Vec<E::Tensor>, Range<usize>),
    rows: &[usize],
) -> E::Tensor {
    let parts: Vec<(E::Tensor, Range<usize>)> = runs
        .iter()
        .map(|(steps, record)| {
            let (parts, columns) = what(record);
            let parts: Vec<&E::Tensor> = parts.iter().collect();
            let places: Vec<(usize, usize)> =
                rows.iter().map(|&row| (steps.places[row].0 + 1, steps.places[row].1)).collect();
            (engine.gather(&parts, &places), columns)
        })
        .collect();
    let parts: Vec<(&E::Tensor, Range<usize>)> = parts.iter().map(|(part, columns)| (part, columns.clone())).collect();
    engine.beside(&parts)
}

/// The edits of a layer's sites in a direction, and what is to be kept for captures.
struct Sites<'a> {
    gates: [RowEdits<'a>; 4],
    cell: RowEdits<'a>,
    state: RowEdits<'a>,
    keep_gates: bool,
    keep_cells: bool,
}

impl<'a> Sites<'a> {
    fn new<P: Packing>(layer: u16, hooks: &'a Hooks<'_>, idx: usize, n: usize, direction: &Direction<P>) -> Self {
        let (h, d_state) = (direction.d_hidden, direction.d_state);
        let edits = |site, width: usize| hooks.by_row(at(layer, site), n * width, idx * width);
        Self {
            gates: GATES.map(|site| edits(site, h)),
            cell: edits(Site::LstmC, h),
            state: edits(Site::LstmH, d_state),
            keep_gates: GATES.iter().any(|&site| hooks.captures_at(at(layer, site))),
            keep_cells: hooks.captures_at(at(layer, Site::LstmC)),
        }
    }
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
        let h = self.d_hidden;
        let first = &steps.sentences[..steps.rows.first().map_or(0, Vec::len)];
        let zeros = |width| engine.embed(first.len(), width, &|_, _| {});
        let pre = engine.linear(x, &self.input, Epilogue::None);
        let mut gates = vec![zeros(if sites.keep_gates { 4 * h } else { 1 })];
        let (mut cells, mut states) = match past {
            Some(At { past: LayerPast::States(kept), .. }) => {
                (vec![engine.rows(&kept[0], first)], vec![engine.rows(&kept[1], first)])
            }
            _ => (vec![zeros(h)], vec![zeros(self.d_state)]),
        };
        let keep_cells = sites.keep_cells || past.is_some();
        for rows in &steps.rows {
            let group_rows: Vec<Option<usize>> = rows.iter().map(|&row| layout.group_row[row]).collect();
            let before = |x: &[E::Tensor]| engine.rows(&x[x.len() - 1], &(0..rows.len()).collect::<Vec<_>>());
            // [N, 4 H]: what the input gives, plus what the states before give.
            let given = engine.rows(&pre, rows);
            let pre = engine.linear(&before(&states), &self.hidden, Epilogue::Add(&given));
            let mut gate = engine.lstm_gates(&pre);
            for (idx, edits) in sites.gates.iter().enumerate() {
                edit(engine, edits, &mut gate, idx * h..(idx + 1) * h, &group_rows)?;
            }
            let mut cell = engine.lstm_cell(&gate, &before(&cells));
            edit(engine, &sites.cell, &mut cell, 0..h, &group_rows)?;
            let mut state = engine.lstm_state(&gate, &cell);
            if let Some(projection) = &self.projection {
                state = engine.linear(&state, projection, Epilogue::None);
            }
            edit(engine, &sites.state, &mut state, 0..self.d_state, &group_rows)?;
            states.push(state);
            if sites.keep_gates {
                gates.push(gate);
            }
            if !keep_cells {
                cells.clear();
            }
            cells.push(cell);
        }
        if let Some(At { past: LayerPast::States(kept), grows: true }) = past {
            kept[0] = steps.last(engine, &cells, &kept[0]);
            kept[1] = steps.last(engine, &states, &kept[1]);
        }
        Ok(Record { gates, cells, states })
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
