//! Who of this handle wants or has which resource. Callers queue here, first come first served, so that only one
//! of them contends at the nodes.

use std::collections::{HashMap, VecDeque};

use super::operation::{LeaseKey, OpKey};
use super::request::Bytes;

#[derive(Debug, Default)]
struct Resource {
    queue: VecDeque<OpKey>,
    holder: Option<LeaseKey>,
}

/// All resources of a handle that somebody wants or has.
#[derive(Debug, Default)]
pub struct Resources(HashMap<Bytes, Resource>);

impl Resources {
    /// Joins the queue. True when the operation is first and may contend.
    pub fn join(&mut self, key: &Bytes, op: OpKey) -> bool {
        let queue = &mut self.0.entry(key.clone()).or_default().queue;
        queue.push_back(op);
        queue.len() == 1
    }

    /// Leaves the queue. The operation that is first now, if that changed.
    pub fn leave(&mut self, key: &Bytes, op: OpKey) -> Option<OpKey> {
        let resource = self.0.get_mut(key)?;
        let was_first = resource.queue.front() == Some(&op);
        resource.queue.retain(|&queued| queued != op);
        let next = resource.queue.front().copied();
        self.tidy(key);
        next.filter(|_| was_first)
    }

    /// The first of the queue.
    #[must_use]
    pub fn first(&self, key: &Bytes) -> Option<OpKey> {
        self.0.get(key)?.queue.front().copied()
    }

    /// A lease of this handle holds the resource now.
    pub fn hold(&mut self, key: &Bytes, lease: LeaseKey) {
        self.0.entry(key.clone()).or_default().holder = Some(lease);
    }

    /// That lease does not hold it any more.
    pub fn let_go(&mut self, key: &Bytes, lease: LeaseKey) {
        if let Some(resource) = self.0.get_mut(key)
            && resource.holder == Some(lease)
        {
            resource.holder = None;
            self.tidy(key);
        }
    }

    /// The lease of this handle that holds the resource.
    #[must_use]
    pub fn holder(&self, key: &Bytes) -> Option<LeaseKey> {
        self.0.get(key)?.holder
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn tidy(&mut self, key: &Bytes) {
        if self.0.get(key).is_some_and(|resource| resource.queue.is_empty() && resource.holder.is_none()) {
            self.0.remove(key);
        }
    }
}
