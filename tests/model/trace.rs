//! Steps in words, for whoever reads how a violation came about.

use redlock::core::request::{Reply, Request};
use redlock::core::time::NS_PER_MS;

use crate::client::{Claim, named};
use crate::node::BEGIN_NS;
use crate::steps::Step;
use crate::world::{CLIENTS, Item, Message, NODES, World};

impl World {
    /// What the step will be.
    pub fn describe(&self, step: Step) -> String {
        match step {
            Step::Begin(client) => {
                self.clients[client].next_act().map_or_else(String::new, |act| format!("c{client} begins: {act:?}"))
            }
            Step::Execute(client, node) => match self.wires[client][node].to_node.front() {
                Some(Item::Request(request)) => format!("n{node} executes c{client}'s {}", say(request)),
                Some(Item::Hello) => format!("n{node} accepts a connection of c{client}"),
                None => String::new(),
            },
            Step::ExecuteUnaccounted(client, node) => {
                let request = self.wires[client][node].unaccounted.front().map(say).unwrap_or_default();
                format!("n{node} executes c{client}'s {request}, from the connection before")
            }
            Step::Deliver(client, node) => match self.wires[client][node].to_client.front() {
                Some(Message::Reply(kind, reply)) => format!("c{client} reads n{node}'s {kind:?}: {}", short(reply)),
                Some(Message::Push(push)) => format!("c{client} reads n{node}'s {push:?}"),
                Some(Message::Welcome(info)) => format!("c{client} is connected to n{node}, run {}", info.run_id),
                Some(Message::End) => format!("c{client} sees that n{node} has closed the connection"),
                None => String::new(),
            },
            Step::Tick(client) => format!("c{client} looks at the clock"),
            Step::Pass(moment) => format!("time passes until {} ms", (moment - BEGIN_NS) as f64 / NS_PER_MS as f64),
            Step::Reset(client, node) => format!("the connection of c{client} to n{node} is reset"),
            Step::Restart(node) => format!("n{node} restarts without its data"),
        }
    }

    /// What has become of the clients' operations and leases, and of the keys.
    pub fn news(&self, before: &World) -> String {
        let mut news = String::new();
        for client in 0..CLIENTS {
            let (is, was) = (&self.clients[client], &before.clients[client]);
            if was.pending.is_some() && is.pending.is_none() {
                news += &format!("; c{client}'s operation has ended");
            }
            let valid = |claim: Option<&Claim>, now_ns: u64| {
                claim.filter(|claim| claim.is_valid(now_ns)).map(|claim| claim.valid_until_ns)
            };
            match (valid(was.claim.as_ref(), before.now_ns), valid(is.claim.as_ref(), self.now_ns)) {
                (was, Some(until_ns)) if was != Some(until_ns) => {
                    news += &format!("; c{client} holds the lock until {} ms", (until_ns - BEGIN_NS) / NS_PER_MS);
                }
                (Some(_), None) => news += &format!("; c{client} holds the lock no more"),
                _ => {}
            }
        }
        for node in 0..NODES {
            let key = |world: &World| world.nodes[node].key.as_ref().map(|key| named(&key.token));
            if key(self) != key(before) {
                news += &format!("; key on n{node}: {}", key(self).unwrap_or_else(|| "none".to_owned()));
            }
        }
        news
    }
}

fn say(request: &Request) -> String {
    match request {
        Request::Set { token, .. } => format!("SET {}", named(token)),
        Request::SetFenced { token, proposal, .. } => format!("SET {} with counter {proposal}", named(token)),
        Request::Release { token, .. } => format!("release of {}", named(token)),
        Request::Extend { token, .. } => format!("extension of {}", named(token)),
        Request::ExtendFenced { token, fence, .. } => format!("extension of {} with counter {fence}", named(token)),
        Request::Track => "CLIENT CACHING".to_owned(),
        Request::Remaining { .. } => "PTTL".to_owned(),
        Request::Holder { .. } => "GETRANGE".to_owned(),
    }
}

fn short(reply: &Reply) -> String {
    match reply {
        Reply::Holder(token) => named(token),
        Reply::Refused(fault) | Reply::Unclear(fault) => fault.text.to_string(),
        Reply::Fenced { counter, .. } => format!("counter {counter}"),
        other => format!("{other:?}"),
    }
}
