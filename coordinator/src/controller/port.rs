//! The seam between the deciding code and [`super::Controller::step`]: what came in, what goes out.
//!
//! The deciding code is written in the order in which things happen, as `async` functions whose only waits are ZooKeeper's
//! answers and the next event. Nothing runs them but `step`, which polls once per event: there is no executor, no waker and
//! no time here, so the same events always give the same effects.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use model::Millis;
use parking_lot::Mutex;
use zk_schema::Op;

use super::event::{Answer, AskId, Effect, Event, Read, Refusal, Reply, RequestId};

/// What lies between `step` and the deciding code.
#[derive(Default)]
pub(super) struct Mailbox {
    /// Events that the deciding code has not taken yet.
    pub(super) inbox: VecDeque<Event>,
    /// Effects of this step so far.
    pub(super) effects: Vec<Effect>,
    /// Questions that have no answer yet.
    pub(super) open: BTreeSet<AskId>,
    /// What the deciding code waits for, and the answers once they are there.
    pub(super) waiting: Option<(RequestId, Option<Vec<Answer>>)>,
    /// The moment of this step.
    pub(super) now: Millis,
    next_request: u64,
}

/// One end of a [`Mailbox`].
#[derive(Clone, Default)]
pub(super) struct Port(Arc<Mutex<Mailbox>>);

impl Port {
    /// Looks into the mailbox. Never across a wait.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Mailbox) -> T) -> T {
        look(&mut self.0.lock())
    }

    /// Puts an effect out.
    pub(super) fn emit(&self, effect: Effect) {
        self.with(|mail| mail.effects.push(effect));
    }

    /// Answers a question. One that has been answered already, or withdrawn, stays as it is.
    pub(super) fn answer(&self, ask: AskId, reply: Result<Reply, Refusal>) {
        self.with(|mail| {
            if mail.open.remove(&ask) {
                mail.effects.push(Effect::Answer(ask, reply));
            }
        });
    }

    /// The next event.
    pub(super) async fn event(&self) -> Event {
        poll_fn(|_| {
            self.with(|mail| match mail.inbox.pop_front() {
                Some(event) => Poll::Ready(event),
                None => Poll::Pending,
            })
        })
        .await
    }

    /// Reads, pipelined; the answers in the same order. Reading nothing asks nobody.
    pub(super) async fn read(&self, reads: Vec<Read>) -> Vec<Answer> {
        if reads.is_empty() {
            return Vec::new();
        }
        self.request(reads.len(), |id| Effect::Read(id, reads)).await
    }

    /// Writes, pipelined and fenced one by one; the answers in the same order. Writing nothing asks nobody.
    pub(super) async fn write(&self, ops: Vec<Op>) -> Vec<Answer> {
        if ops.is_empty() {
            return Vec::new();
        }
        self.request(ops.len(), |id| Effect::Write(id, ops)).await
    }

    async fn request(&self, items: usize, effect: impl FnOnce(RequestId) -> Effect) -> Vec<Answer> {
        self.with(|mail| {
            mail.next_request += 1;
            let id = RequestId(mail.next_request);
            mail.waiting = Some((id, None));
            mail.effects.push(effect(id));
        });
        let mut answers = poll_fn(|_| {
            self.with(|mail| match mail.waiting.take() {
                Some((_, Some(answers))) => Poll::Ready(answers),
                waiting => {
                    mail.waiting = waiting;
                    Poll::Pending
                }
            })
        })
        .await;
        // One answer per item is the shell's promise; a short answer must not shift the rest.
        answers.resize_with(items, || Answer::Failed("no answer".to_owned()));
        answers
    }
}
