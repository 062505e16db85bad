//! Three stages that overlap: sentences are read and tokenized, the model runs, somebody takes the rows.

use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use nissl_core::{Batch, HookPlan, Model, Progress};
use nissl_data::{Aggregation, AlignmentCounts, CorpusCounts, CorpusReader};
use nissl_store::{Dtype, SentenceRows, Store, Values, Writer};

use super::Failure;
use super::prepare::{Chunk, Input, Prepared, Preparer};
use super::sink::{Buffer, Sink, Target};
use crate::error::TaskError;

/// Sentences that are prepared at once: enough for all threads, few enough to be held three times.
const CHUNK: usize = 256;

/// What the stages share.
pub(crate) struct Pipeline<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) preparer: Preparer<'a>,
    pub(crate) plan: HookPlan,
    /// Width of each captured site.
    pub(crate) widths: Vec<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) how: Aggregation,
    /// Tokens after which a batch is full.
    pub(crate) batch_tokens: usize,
    /// Words of the corpus.
    pub(crate) n_words: u64,
    pub(crate) progress: &'a dyn Progress,
}

/// Takes the rows of the corpus in their order.
pub(crate) trait Taker: Send {
    /// What comes of all rows.
    type Made: Send;

    /// Sentences that it has already, from the start.
    fn n_taken(&self) -> u64;

    /// Takes the next sentences with the values of their rows, for each site row-major `[n_rows, width]`.
    ///
    /// # Errors
    /// Whatever it returns stops the run.
    fn take(&mut self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), TaskError>;

    /// Called after the last sentence of the corpus.
    ///
    /// # Errors
    /// As [`Taker::take`].
    fn finish(self) -> Result<Self::Made, TaskError>;
}

impl Taker for Writer {
    type Made = Store;

    fn n_taken(&self) -> u64 {
        self.resume_point().sentence
    }

    fn take(&mut self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), TaskError> {
        Ok(self.append(sentences, values)?)
    }

    fn finish(self) -> Result<Store, TaskError> {
        Ok(Self::finish(self)?)
    }
}

/// What came of it.
pub(crate) struct Done<M> {
    /// What the taker made of all rows; `None` if the user stopped it.
    pub(crate) made: Option<M>,
    pub(crate) counted: Counted,
}

/// What was read.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) corpus: CorpusCounts,
    pub(crate) alignment: AlignmentCounts,
    pub(crate) failed: Vec<Failure>,
}

/// From the first stage to the second.
enum Read {
    Sentences(Vec<Prepared>),
    /// The corpus was read to its end, not merely no further.
    End,
}

/// From the second stage to the third.
enum Computed {
    Block(Block),
    End,
}

/// A batch on its way to the store, with its values a site.
struct Block {
    sentences: Vec<SentenceRows>,
    buffers: Vec<Buffer>,
}

/// A batch that is being filled.
#[derive(Default)]
struct Pending {
    sentences: Vec<SentenceRows>,
    inputs: Vec<Input>,
    /// The first row of each input's sentence.
    first_row: Vec<usize>,
    n_rows: usize,
    n_tokens: usize,
    n_words: u64,
}

impl Pending {
    fn push(&mut self, prepared: Prepared) {
        self.n_tokens += prepared.inputs.iter().map(|input| input.ids.len()).sum::<usize>();
        self.n_words += prepared.n_words;
        self.first_row.extend(prepared.inputs.iter().map(|_| self.n_rows));
        self.n_rows += prepared.rows.rows.len();
        self.inputs.extend(prepared.inputs);
        self.sentences.push(prepared.rows);
    }
}

impl Pipeline<'_> {
    /// Runs the corpus from its start; sentences that the taker has already are counted and passed over.
    ///
    /// # Errors
    /// The first error of any stage. What a store has committed stays, and the same run can be resumed.
    pub(crate) fn run<T: Taker>(&self, reader: CorpusReader, taker: T) -> Result<Done<T::Made>, TaskError> {
        let skip = taker.n_taken();
        let (read_in, read) = sync_channel(2);
        let (computed_in, computed) = sync_channel(1);
        let (free_in, free) = channel();
        // Buffers go round: one set is filled, one waits, one is written.
        for _ in 0..3 {
            let set: Vec<Buffer> = self.widths.iter().map(|_| Buffer::new(self.dtype)).collect();
            free_in.send(set).expect("the other end is in this function");
        }
        thread::scope(|scope| {
            let reading = scope.spawn(move || self.read(reader, &read_in));
            let taking = scope.spawn(move || take(taker, &computed, &free_in));
            let ran = self.compute(&read, &computed_in, &free, skip);
            // Whoever waits for us learns that no more comes.
            drop((read, computed_in, free));
            // The stage that failed made the others stop, without an error of their own.
            let made = join(taking)?;
            let counted = join(reading)?;
            ran?;
            Ok(Done { made, counted })
        })
    }

    /// Reads the corpus without running the model, and hands on the rows that a run would give.
    ///
    /// # Errors
    /// As for the first stage of a run.
    pub(crate) fn rows(
        &self,
        mut reader: CorpusReader,
        mut take: impl FnMut(&SentenceRows),
    ) -> Result<Counted, TaskError> {
        let mut counted = Counted::default();
        while !self.progress.cancelled() {
            let Some(sentences) = self.next_sentences(&mut reader, &mut counted)? else { break };
            for prepared in &sentences {
                take(&prepared.rows);
            }
            self.progress.step(reader.counts().sentences as u64);
        }
        Ok(counted)
    }

    /// The next sentences of the corpus, ready to run; `None` at its end.
    fn next_sentences(
        &self,
        reader: &mut CorpusReader,
        counted: &mut Counted,
    ) -> Result<Option<Vec<Prepared>>, TaskError> {
        let sentences = reader.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
        counted.corpus = reader.counts().clone();
        if sentences.is_empty() {
            return Ok(None);
        }
        let Chunk { sentences, counts, failed } = self.preparer.chunk(sentences)?;
        counted.alignment += &counts;
        counted.failed.extend(failed);
        Ok(Some(sentences))
    }

    /// First stage: sentences are read in order and tokenized in parallel.
    fn read(&self, mut reader: CorpusReader, out: &SyncSender<Read>) -> Result<Counted, TaskError> {
        let mut counted = Counted::default();
        while let Some(sentences) = self.next_sentences(&mut reader, &mut counted)? {
            if out.send(Read::Sentences(sentences)).is_err() {
                return Ok(counted);
            }
        }
        // If the second stage has ended, it says why.
        let _ = out.send(Read::End);
        Ok(counted)
    }

    /// Second stage: packs sentences into batches and runs them.
    fn compute(
        &self,
        read: &Receiver<Read>,
        out: &SyncSender<Computed>,
        free: &Receiver<Vec<Buffer>>,
        skip: u64,
    ) -> Result<(), TaskError> {
        let mut batch = Pending::default();
        let (mut n_passed, mut words_passed, mut words_done) = (0, 0, 0);
        if skip > 0 {
            self.progress.stage("find the place to go on", Some(skip), "sentences");
        } else {
            self.progress.stage("run the model", Some(self.n_words), "words");
        }
        for message in read {
            let Read::Sentences(sentences) = message else {
                if !batch.sentences.is_empty() && !self.run_batch(mem::take(&mut batch), out, free, &mut words_done)? {
                    return Ok(());
                }
                // If the third stage has ended, it says why.
                let _ = out.send(Computed::End);
                return Ok(());
            };
            for prepared in sentences {
                if n_passed < skip {
                    n_passed += 1;
                    words_passed += prepared.n_words;
                    self.progress.step(n_passed);
                    if n_passed == skip {
                        let left = self.n_words.saturating_sub(words_passed);
                        self.progress.stage("run the model", Some(left), "words");
                    }
                    continue;
                }
                batch.push(prepared);
                let full = batch.n_tokens >= self.batch_tokens;
                if self.progress.cancelled()
                    || (full && !self.run_batch(mem::take(&mut batch), out, free, &mut words_done)?)
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Runs a batch and hands it on; false if nobody takes it any more.
    fn run_batch(
        &self,
        batch: Pending,
        out: &SyncSender<Computed>,
        free: &Receiver<Vec<Buffer>>,
        words_done: &mut u64,
    ) -> Result<bool, TaskError> {
        let Ok(mut buffers) = free.recv() else { return Ok(false) };
        let Pending { sentences, inputs, first_row, n_rows, n_words, .. } = batch;
        let packed = Batch::from_sentences(inputs.iter().map(|input| &input.ids));
        let target = Target { n_rows, widths: &self.widths, how: self.how, dtype: self.dtype };
        let sink = Sink::new(&inputs, &first_row, target, &mut buffers);
        tracing::trace!(sentences = sentences.len(), tokens = packed.n_tokens(), rows = n_rows, "batch");
        if !inputs.is_empty() {
            self.model.run_into(&packed, &self.plan, &sink)?;
        }
        drop(sink);
        *words_done += n_words;
        self.progress.step(*words_done);
        Ok(out.send(Computed::Block(Block { sentences, buffers })).is_ok())
    }
}

/// Third stage: hands batches on. `None` if it was not told that the corpus has ended.
fn take<T: Taker>(
    mut taker: T,
    computed: &Receiver<Computed>,
    free: &Sender<Vec<Buffer>>,
) -> Result<Option<T::Made>, TaskError> {
    for message in computed {
        let Computed::Block(block) = message else { return taker.finish().map(Some) };
        let values: Vec<Values<'_>> = block.buffers.iter().map(Buffer::values).collect();
        taker.take(&block.sentences, &values)?;
        // At the end nobody needs them any more.
        let _ = free.send(block.buffers);
    }
    Ok(None)
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
