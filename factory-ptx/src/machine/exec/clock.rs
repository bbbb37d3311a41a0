//! What happened before what.
//!
//! Every warp of a cluster, and everything that completes asynchronously, is an agent. Time is a counter of the cluster
//! that grows with every release (an arrival, a fence, a completion); an access carries its agent and the time of the
//! agent's last release. A clock says, for every agent, up to which time its accesses are ordered before the clock's
//! owner. Clocks travel with releases and are joined by acquires. For agents of other clusters, which meet only through
//! global memory, clocks hold a tree that shares what did not change.

use std::sync::Arc;

/// Bits of a cluster's position that one level of the tree tells apart, and levels.
const LEVEL_BITS: u32 = 4;
const LEVELS: u32 = 6;
const FAN: usize = 1 << LEVEL_BITS;

/// Takes the later of two times, place by place.
pub(super) fn join_times(into: &mut Vec<u32>, from: &[u32]) {
    if into.len() < from.len() {
        into.resize(from.len(), 0);
    }
    for (mine, theirs) in into.iter_mut().zip(from) {
        *mine = (*mine).max(*theirs);
    }
}

fn set_time(times: &mut Vec<u32>, agent: usize, time: u32) {
    if times.len() <= agent {
        times.resize(agent + 1, 0);
    }
    times[agent] = times[agent].max(time);
}

/// What its owner has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// When the cluster began: everything up to then is over, whoever did it.
    pub(super) start: u32,
    /// For each agent of the cluster: up to when its accesses are ordered before the owner's.
    pub(super) seen: Vec<u32>,
    /// The same for the async proxy: up to when its ordinary writes have passed a proxy fence on their way here.
    pub(super) proxied: Vec<u32>,
    /// The same for initialisations of mbarrier objects, which `fence.mbarrier_init` alone may release.
    pub(super) inits: Vec<u32>,
    /// The same for being done with the memory of other blocks: relaxed arrivals at the cluster barrier tell of it.
    pub(super) done: Vec<u32>,
    /// Other clusters.
    pub(super) foreign: Foreign,
}

impl Clock {
    pub(super) fn join(&mut self, other: &Clock) {
        self.start = self.start.max(other.start);
        join_times(&mut self.seen, &other.seen);
        join_times(&mut self.proxied, &other.proxied);
        join_times(&mut self.inits, &other.inits);
        join_times(&mut self.done, &other.done);
        self.foreign.join(&other.foreign);
    }

    #[inline(always)]
    pub(super) fn has(&self, agent: usize, time: u32) -> bool {
        time <= self.start || self.seen.get(agent).is_some_and(|seen| time <= *seen)
    }

    pub(super) fn see(&mut self, agent: usize, time: u32) {
        set_time(&mut self.seen, agent, time);
    }

    pub(super) fn see_init(&mut self, agent: usize, time: u32) {
        set_time(&mut self.inits, agent, time);
    }

    pub(super) fn see_done(&mut self, agent: usize, time: u32) {
        set_time(&mut self.done, agent, time);
    }

    pub(super) fn has_done(&self, agent: usize, time: u32) -> bool {
        self.has(agent, time) || self.done.get(agent).is_some_and(|seen| time <= *seen)
    }

    pub(super) fn has_init(&self, agent: usize, time: u32) -> bool {
        self.has(agent, time) || self.inits.get(agent).is_some_and(|seen| time <= *seen)
    }

    /// Whether the async proxy may rely on an ordinary write.
    pub(super) fn has_proxied(&self, agent: usize, time: u32) -> bool {
        time <= self.start || self.proxied.get(agent).is_some_and(|seen| time <= *seen)
    }

    /// A proxy fence: what was seen so far has passed one.
    pub(super) fn pass_proxy(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        join_times(&mut self.proxied, &seen);
        self.seen = seen;
    }
}

/// Times of agents of other clusters, by the cluster's position in the grid.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign(Option<Arc<Node>>);

#[derive(Debug)]
enum Node {
    Branch([Option<Arc<Node>>; FAN]),
    Leaf(Vec<u32>),
}

impl Foreign {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn join(&mut self, other: &Foreign) {
        self.0 = join_nodes(self.0.as_ref(), other.0.as_ref());
    }

    /// Times of one cluster.
    pub(super) fn get(&self, position: u64) -> Option<&[u32]> {
        let mut node = self.0.as_ref()?;
        let mut level = LEVELS;
        loop {
            match &**node {
                Node::Leaf(times) => return Some(times),
                Node::Branch(children) => {
                    level = level.checked_sub(1)?;
                    node = children[(position >> (level * LEVEL_BITS)) as usize % FAN].as_ref()?;
                }
            }
        }
    }

    pub(super) fn insert(&mut self, position: u64, times: &[u32]) {
        let mut node = Arc::new(Node::Leaf(times.to_vec()));
        for level in 0..LEVELS {
            let mut children: [Option<Arc<Node>>; FAN] = Default::default();
            children[(position >> (level * LEVEL_BITS)) as usize % FAN] = Some(node);
            node = Arc::new(Node::Branch(children));
        }
        self.0 = join_nodes(self.0.as_ref(), Some(&node));
    }
}

/// The later of two trees; one of the two themselves where that is enough.
fn join_nodes(a: Option<&Arc<Node>>, b: Option<&Arc<Node>>) -> Option<Arc<Node>> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b).cloned() };
    if Arc::ptr_eq(a, b) {
        return Some(a.clone());
    }
    match (&**a, &**b) {
        (Node::Branch(left), Node::Branch(right)) => {
            let children: [Option<Arc<Node>>; FAN] =
                std::array::from_fn(|index| join_nodes(left[index].as_ref(), right[index].as_ref()));
            let same = |side: &[Option<Arc<Node>>; FAN]| {
                children.iter().zip(side).all(|(mine, theirs)| match (mine, theirs) {
                    (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
                    (None, None) => true,
                    _ => false,
                })
            };
            if same(left) {
                Some(a.clone())
            } else if same(right) {
                Some(b.clone())
            } else {
                Some(Arc::new(Node::Branch(children)))
            }
        }
        (Node::Leaf(left), Node::Leaf(right)) => {
            let mut times = left.clone();
            join_times(&mut times, right);
            if times == *left {
                Some(a.clone())
            } else if times == *right {
                Some(b.clone())
            } else {
                Some(Arc::new(Node::Leaf(times)))
            }
        }
        // Branches and leaves never stand at the same level.
        _ => Some(a.clone()),
    }
}
