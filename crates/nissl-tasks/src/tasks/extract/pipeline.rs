//! Three stages that overlap: sentences are read and tokenized, the model runs, the store is written.

use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use nissl_core::{Batch, HookPlan, Model, Progress};
use nissl_data::{Aggregation, AlignmentCounts, CorpusCounts, CorpusReader};
use nissl_store::{Dtype, SentenceRows, Store, StoreError, Values, Writer};

use super::Failure;
use super::prepare::{Chunk, Input, Prepared, Preparer};
use super::sink::{Buffer, Sink, Target};
use crate::error::TaskError;

/// Sentences that are prepared at once: enough for all threads, few enough to be held three times.
const CHUNK: usize = 256;

/// What the stages share.
pub(super) struct Pipeline<'a> {
    pub(super) model: &'a dyn Model,
    pub(super) preparer: Preparer<'a>,
    pub(super) plan: HookPlan,
    /// Width of each captured site.
    pub(super) widths: Vec<usize>,
    pub(super) dtype: Dtype,
    pub(super) how: Aggregation,
    /// Tokens after which a batch is full.
    pub(super) batch_tokens: usize,
    /// Words of the corpus.
    pub(super) n_words: u64,
    pub(super) progress: &'a dyn Progress,
}

/// What came of it.
pub(super) struct Done {
    /// The complete store; `None` if the user stopped it.
    pub(super) store: Option<Store>,
    pub(super) counted: Counted,
}

/// What was read.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) corpus: CorpusCounts,
    pub(super) alignment: AlignmentCounts,
    pub(super) failed: Vec<Failure>,
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
    /// Runs the corpus from its start; sentences that the writer has already are counted and passed over.
    ///
    /// # Errors
    /// The first error of any stage. What was committed stays, and the same run can be resumed.
    pub(super) fn run(&self, reader: CorpusReader, writer: Writer) -> Result<Done, TaskError> {
        let skip = writer.resume_point().sentence;
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
            let writing = scope.spawn(move || write(writer, &computed, &free_in));
            let ran = self.compute(&read, &computed_in, &free, skip);
            // Whoever waits for us learns that no more comes.
            drop((read, computed_in, free));
            // The stage that failed made the others stop, without an error of their own.
            let store = join(writing)?;
            let counted = join(reading)?;
            ran?;
            Ok(Done { store, counted })
        })
    }

    /// First stage: sentences are read in order and tokenized in parallel.
    fn read(&self, mut reader: CorpusReader, out: &SyncSender<Read>) -> Result<Counted, TaskError> {
        let mut counted = Counted::default();
        loop {
            let sentences = reader.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            let at_end = sentences.is_empty();
            let Chunk { sentences, counts, failed } = self.preparer.chunk(sentences)?;
            counted.alignment += &counts;
            counted.failed.extend(failed);
            let sent = out.send(if at_end { Read::End } else { Read::Sentences(sentences) });
            if at_end || sent.is_err() {
                counted.corpus = reader.counts().clone();
                return Ok(counted);
            }
        }
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

/// Third stage: writes batches. `None` if it was not told that the corpus has ended.
fn write(
    mut writer: Writer,
    computed: &Receiver<Computed>,
    free: &Sender<Vec<Buffer>>,
) -> Result<Option<Store>, StoreError> {
    for message in computed {
        let Computed::Block(block) = message else { return writer.finish().map(Some) };
        let values: Vec<Values<'_>> = block.buffers.iter().map(Buffer::values).collect();
        writer.append(&block.sentences, &values)?;
        // At the end nobody needs them any more.
        let _ = free.send(block.buffers);
    }
    Ok(None)
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
