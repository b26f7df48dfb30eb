//! Who of this handle wants or has which resource. Callers queue here, first come first served, so that only one
//! of them contends at the nodes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::core::operation::{LeaseKey, OpKey};
use crate::core::request::Bytes;

#[derive(Debug, Clone, Default, Hash)]
struct Resource {
    queue: VecDeque<OpKey>,
    holder: Option<LeaseKey>,
}

/// So many released resources are remembered as wanted by others.
const COURTESIES_MAX: usize = 64;

/// All resources of a handle that somebody wants or has.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    known: HashMap<Bytes, Resource>,
    /// Released a moment ago although others want them, and until when, on the wait clock, it is their turn.
    courtesies: VecDeque<(Bytes, u64)>,
}

/// In the order of the keys: the map's own order is another one in every process.
impl Hash for Resources {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Resources { known, courtesies } = self;
        (known.iter().collect::<BTreeMap<_, _>>(), courtesies).hash(state);
    }
}

impl Resources {
    /// Joins the queue. True when the operation is first and may contend.
    pub fn join(&mut self, key: &Bytes, op: OpKey) -> bool {
        let queue = &mut self.known.entry(key.clone()).or_default().queue;
        queue.push_back(op);
        queue.len() == 1
    }

    /// Leaves the queue. The operation that is first now, if that changed.
    pub fn leave(&mut self, key: &Bytes, op: OpKey) -> Option<OpKey> {
        let resource = self.known.get_mut(key)?;
        let was_first = resource.queue.front() == Some(&op);
        if was_first {
            resource.queue.pop_front();
        } else if let Some(place) = resource.queue.iter().rposition(|&queued| queued == op) {
            resource.queue.remove(place);
        }
        let next = resource.queue.front().copied();
        self.tidy(key);
        next.filter(|_| was_first)
    }

    /// The first lets the others go first. Who is first now, if anybody else is there.
    pub fn step_back(&mut self, key: &Bytes, op: OpKey) -> Option<OpKey> {
        let queue = &mut self.known.get_mut(key)?.queue;
        if queue.len() < 2 || queue.front() != Some(&op) {
            return None;
        }
        queue.rotate_left(1);
        queue.front().copied()
    }

    /// The first of the queue.
    #[must_use]
    pub fn first(&self, key: &Bytes) -> Option<OpKey> {
        self.known.get(key)?.queue.front().copied()
    }

    /// A lease of this handle holds the resource now.
    pub fn hold(&mut self, key: &Bytes, lease: LeaseKey) {
        self.known.entry(key.clone()).or_default().holder = Some(lease);
    }

    /// That lease does not hold it any more.
    pub fn let_go(&mut self, key: &Bytes, lease: LeaseKey) {
        if let Some(resource) = self.known.get_mut(key)
            && resource.holder == Some(lease)
        {
            resource.holder = None;
            self.tidy(key);
        }
    }

    /// The lease of this handle that holds the resource.
    #[must_use]
    pub fn holder(&self, key: &Bytes) -> Option<LeaseKey> {
        self.known.get(key)?.holder
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Others want the resource that was released just now: it is their turn until that moment.
    pub fn others_turn(&mut self, key: &Bytes, until_mono_ns: u64) {
        self.courtesies.retain(|(other, _)| other != key);
        if self.courtesies.len() == COURTESIES_MAX {
            self.courtesies.pop_front();
        }
        self.courtesies.push_back((key.clone(), until_mono_ns));
    }

    /// Whether it is their turn still.
    #[must_use]
    pub fn is_others_turn(&self, key: &Bytes, mono_ns: u64) -> bool {
        self.courtesies.iter().any(|(other, until_mono_ns)| other == key && *until_mono_ns > mono_ns)
    }

    fn tidy(&mut self, key: &Bytes) {
        if self.known.get(key).is_some_and(|resource| resource.queue.is_empty() && resource.holder.is_none()) {
            self.known.remove(key);
        }
    }
}
