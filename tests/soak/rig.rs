//! Servers, proxies and client processes, from the first to the last.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Orders;
use crate::nemesis::{Counts, Nemesis};
use crate::plan::{
    self, CALM_WAIT_MS, COUNTER_SUFFIX, Character, KEY_PREFIX, MAX_TTL_MS, NODES, Plan, RESOURCES, Route,
};
use crate::record::{self, Entry, now_ns};
use crate::store::{Register, Store, Update};
use crate::support::{Cluster, Node, Proxy, TempDir, spawn, wait_for};

/// All clients are connected within this.
const START: Duration = Duration::from_secs(30);
/// Every client has had every resource once more within this.
const CALM: Duration = Duration::from_millis(CALM_WAIT_MS as u64 * RESOURCES as u64 + 20_000);

/// One client and its incarnations.
pub struct Slot {
    pub character: Character,
    /// One per node, or none at all.
    pub proxies: Vec<Proxy>,
    pub child: Option<Child>,
    pub incarnation: u64,
    /// When it was stopped, up to now.
    pub pauses: Vec<(u64, u64)>,
    /// When it was killed.
    pub deaths: Vec<u64>,
    orders: Orders,
}

/// Everything that runs.
pub struct Rig {
    pub cluster: Cluster,
    pub slots: Vec<Slot>,
    pub plan: Plan,
    store: Node,
    /// Records of all processes.
    pub dir: Arc<TempDir>,
    calm: PathBuf,
}

/// Everything that a run left behind.
pub struct Evidence {
    pub plan: Plan,
    /// Records of all processes.
    pub dir: Arc<TempDir>,
    pub faults: Counts,
    /// The entries of each client's incarnations, in order.
    pub entries: Vec<Vec<Entry>>,
    pub pauses: Vec<Vec<(u64, u64)>>,
    pub deaths: Vec<Vec<u64>>,
    /// Per resource.
    pub plain: Vec<Vec<Update>>,
    pub fenced: Vec<Vec<Update>>,
    pub fenced_values: Vec<u64>,
    /// What is wrong without any record of a client.
    pub findings: Vec<String>,
}

impl Rig {
    /// Starts everything; all clients are connected to all nodes when this returns.
    pub fn start(plan: Plan) -> Rig {
        let cluster = Cluster::start(NODES);
        let dir = Arc::new(TempDir::new());
        let calm = dir.path().join("calm");
        let store = Node::start(&[]);
        let slots = plan::characters().into_iter().take(plan.clients).enumerate();
        let slots = slots.map(|(client, character)| {
            let proxies: Vec<Proxy> = match character.route {
                Route::Proxies => cluster.iter().map(|node| Proxy::to(node.port())).collect(),
                Route::Tcp | Route::UnixSockets => Vec::new(),
            };
            let urls = match character.route {
                Route::Proxies => proxies.iter().map(Proxy::url).collect(),
                Route::Tcp => cluster.urls(),
                Route::UnixSockets => {
                    cluster.iter().map(|node| format!("unix://{}", node.socket_path().display())).collect()
                }
            };
            let orders = Orders {
                client,
                incarnation: 0,
                seed: plan.seed,
                urls,
                store_port: store.port(),
                log: PathBuf::new(),
                calm: calm.clone(),
                defect: plan.defect,
                is_guarded: plan.has_faults,
            };
            let (child, pauses, deaths) = (None, Vec::new(), Vec::new());
            Slot { character, proxies, child, incarnation: 0, pauses, deaths, orders }
        });
        let slots = slots.collect();
        let mut rig = Rig { cluster, slots, plan, store, dir, calm };
        (0..rig.slots.len()).for_each(|client| rig.start_client(client));
        let is_ready = |client| record::read(&rig.log_of(client, 1)).first() == Some(&Entry::Ready);
        let all_ready = wait_for(START, || {
            std::thread::sleep(Duration::from_millis(20));
            (0..rig.slots.len()).all(is_ready)
        });
        assert!(all_ready, "not all clients come up: {}", rig.complaints());
        rig
    }

    /// Lets it run, stops it, and collects what there is to know.
    pub fn run(mut self) -> Evidence {
        let mut findings = Vec::new();
        let faults = Nemesis::new(&mut self).rage(&mut findings);
        File::create(&self.calm).expect("a writable directory");
        self.await_clients(&mut findings);
        self.await_forgetting(&mut findings);
        self.collect(faults, findings)
    }

    pub fn start_client(&mut self, client: usize) {
        self.slots[client].incarnation += 1;
        let incarnation = self.slots[client].incarnation;
        let orders = Orders { incarnation, log: self.log_of(client, incarnation), ..self.slots[client].orders.clone() };
        // Ourselves, also when a build has replaced the file meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(["client", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        let (name, value) = orders.to_variable();
        command.env(name, value).stdin(Stdio::null()).stdout(Stdio::null());
        let errors = File::options().create(true).append(true).open(self.dir.path().join(format!("errors-{client}")));
        command.stderr(errors.expect("a writable directory"));
        self.slots[client].child = Some(spawn::spawn(command).expect("we can be executed"));
    }

    /// SIGKILL, and waits for the end.
    pub fn kill_client(&mut self, client: usize) {
        let slot = &mut self.slots[client];
        if let Some(mut child) = slot.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            slot.deaths.push(now_ns());
        }
    }

    pub fn signal_client(&self, client: usize, signal: libc::c_int) {
        if let Some(child) = &self.slots[client].child {
            // SAFETY: no memory is involved; the child is not yet waited for, so its id is not another's.
            let result = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        }
    }

    /// A client that ended without having been told to.
    pub fn find_deserters(&mut self, findings: &mut Vec<String>) {
        for (client, slot) in self.slots.iter_mut().enumerate() {
            if let Some(child) = &mut slot.child
                && let Ok(Some(status)) = child.try_wait()
            {
                slot.child = None;
                findings.push(format!("client {client} ended by itself: {status}"));
            }
        }
    }

    fn await_clients(&mut self, findings: &mut Vec<String>) {
        let end = Instant::now() + CALM;
        for (client, slot) in self.slots.iter_mut().enumerate() {
            let Some(mut child) = slot.child.take() else { continue };
            let mut status: Option<ExitStatus> = None;
            let is_over = wait_for(end.saturating_duration_since(Instant::now()), || {
                std::thread::sleep(Duration::from_millis(5));
                status = child.try_wait().expect("it is our child");
                status.is_some()
            });
            if !is_over {
                let _ = child.kill();
                let _ = child.wait();
                findings.push(format!("client {client} does not end"));
            } else if !status.is_some_and(|status| status.success()) {
                findings.push(format!("client {client} failed: {status:?}"));
            }
        }
    }

    /// No key may be older than the longest ttl.
    fn await_forgetting(&self, findings: &mut Vec<String>) {
        let mut left = Vec::new();
        let is_clean = wait_for(Duration::from_millis(MAX_TTL_MS + 500), || {
            std::thread::sleep(Duration::from_millis(50));
            left = self.keys();
            left.is_empty()
        });
        if !is_clean {
            findings.push(format!("keys are left after the longest ttl: {left:?}"));
        }
    }

    /// Every lock key on every node; and counters that would live for ever.
    fn keys(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (at, node) in self.cluster.iter().enumerate() {
            for key in node.cli(&["KEYS", &format!("*{KEY_PREFIX}*")]).lines() {
                let pttl_ms = node.pttl_ms(key);
                if pttl_ms == -1 || !key.ends_with(COUNTER_SUFFIX) {
                    left.push(format!("{key} on node {at} ({pttl_ms} ms)"));
                }
            }
        }
        left
    }

    fn collect(mut self, faults: Counts, mut findings: Vec<String>) -> Evidence {
        let complaints = self.complaints();
        if !complaints.is_empty() {
            findings.push(format!("clients complain:\n{complaints}"));
        }
        let entries = (0..self.slots.len()).map(|client| {
            let incarnations = 1..=self.slots[client].incarnation;
            incarnations.flat_map(|incarnation| record::read(&self.log_of(client, incarnation))).collect()
        });
        let entries = entries.collect();
        let mut store = Store::open(self.store.port(), true);
        let mut updates = |register| (0..RESOURCES).map(|resource| store.updates(register, resource)).collect();
        let (plain, fenced) = (updates(Register::Plain), updates(Register::Fenced));
        let fenced_values = (0..RESOURCES).map(|resource| store.value(Register::Fenced, resource)).collect();
        let pauses = self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.pauses)).collect();
        let deaths = self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.deaths)).collect();
        let dir = Arc::clone(&self.dir);
        Evidence { plan: self.plan, dir, faults, entries, pauses, deaths, plain, fenced, fenced_values, findings }
    }

    fn complaints(&self) -> String {
        let read = |client| std::fs::read_to_string(self.dir.path().join(format!("errors-{client}")));
        (0..self.slots.len()).filter_map(|client| read(client).ok()).filter(|text| !text.is_empty()).collect()
    }

    fn log_of(&self, client: usize, incarnation: u64) -> PathBuf {
        self.dir.path().join(format!("client-{client}-{incarnation}"))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        (0..self.slots.len()).for_each(|client| self.kill_client(client));
    }
}
