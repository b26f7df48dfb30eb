//! What Toxiproxy can do to a connection, and what that means for a lock.

use crate::support::{ToxicProxy, Toxiproxy};

pub struct Toxic {
    pub name: &'static str,
    kind: Kind,
    /// Slow or odd, but a lock works though all nodes suffer from it.
    pub is_harmless: bool,
    /// A node that suffers from it cannot answer within the node timeout.
    pub is_fatal: bool,
}

enum Kind {
    /// The proxy refuses connections and ends those that are open.
    Down,
    /// A toxic of this type in these directions, with these attributes.
    In(&'static str, &'static [&'static str], &'static str),
}
use Kind::{Down, In};

const BOTH: &[&str] = &["upstream", "downstream"];
const TO_SERVER: &[&str] = &["upstream"];
const TO_CLIENT: &[&str] = &["downstream"];

const fn harmless(name: &'static str, kind: Kind) -> Toxic {
    Toxic { name, kind, is_harmless: true, is_fatal: false }
}

const fn fatal(name: &'static str, kind: Kind) -> Toxic {
    Toxic { name, kind, is_harmless: false, is_fatal: true }
}

/// Whether an answer comes through depends on its size and on what was said before.
const fn doubtful(name: &'static str, kind: Kind) -> Toxic {
    Toxic { name, kind, is_harmless: false, is_fatal: false }
}

pub const TOXICS: &[Toxic] = &[
    harmless("latency of 10 ms with jitter of 5", In("latency", BOTH, r#""latency":10,"jitter":5"#)),
    fatal("latency of 600 ms with jitter of 200", In("latency", BOTH, r#""latency":600,"jitter":200"#)),
    doubtful("bandwidth of 1 kB/s", In("bandwidth", BOTH, r#""rate":1"#)),
    harmless("slow_close of 500 ms", In("slow_close", BOTH, r#""delay":500"#)),
    fatal("timeout without end, to the server", In("timeout", TO_SERVER, r#""timeout":0"#)),
    fatal("timeout without end, to the client", In("timeout", TO_CLIENT, r#""timeout":0"#)),
    fatal("timeout after 50 ms", In("timeout", BOTH, r#""timeout":50"#)),
    fatal("reset_peer at once", In("reset_peer", BOTH, r#""timeout":0"#)),
    fatal("reset_peer after 50 ms, to the client", In("reset_peer", TO_CLIENT, r#""timeout":50"#)),
    harmless("slicer of 16 bytes", In("slicer", BOTH, r#""average_size":16,"size_variation":8,"delay":20"#)),
    doubtful("limit_data of 60 bytes to the server", In("limit_data", TO_SERVER, r#""bytes":60"#)),
    doubtful("limit_data of 600 bytes to the client", In("limit_data", TO_CLIENT, r#""bytes":600"#)),
    fatal("limit_data of 2 bytes to the client", In("limit_data", TO_CLIENT, r#""bytes":2"#)),
    fatal("down", Down),
];

impl Toxic {
    /// False where this Toxiproxy does not know the type.
    pub fn put(&self, toxiproxy: &Toxiproxy, proxy: &ToxicProxy) -> bool {
        match self.kind {
            Down => {
                toxiproxy.down(proxy);
                true
            }
            In(kind, streams, attributes) => {
                streams.iter().all(|stream| toxiproxy.add(proxy, kind, stream, attributes))
            }
        }
    }
}
