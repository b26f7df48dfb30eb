//! Connections: first in, first out in both directions, each message with its own delay.

use std::collections::VecDeque;

use redlock::core::request::{Push, Reply, Request, RequestKind, ServerInfo};

use crate::rng::TokenId;

pub type ConnId = usize;

/// What travels to a server.
#[derive(Debug)]
pub enum Item {
    /// The handshake, which asks the server to forget an earlier connection.
    Hello {
        kill: Option<ConnId>,
    },
    Request(Request),
    /// The client's end is closed.
    Goodbye,
}

/// What travels to a client.
#[derive(Debug)]
pub enum Message {
    Welcome(Box<ServerInfo>),
    /// With the kind of the request and, where it has one, its resource and token.
    Reply(RequestKind, Reply, Option<(u8, TokenId)>),
    Push(Push),
    /// The server's end is closed, or a middlebox says so.
    End,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    pub client: usize,
    pub node: usize,
    pub is_client_open: bool,
    pub is_server_open: bool,
    /// On their way, with the moment of arrival.
    pub to_server: VecDeque<(u64, Item)>,
    pub to_client: VecDeque<(u64, Message)>,
    pub last_to_server: u64,
    pub last_to_client: u64,
    /// Arrived at a stopped server, which will execute it when it goes on.
    pub server_buffer: VecDeque<Item>,
    /// Arrived at a client that does not read just now.
    pub client_buffer: VecDeque<Message>,
    /// `CLIENT CACHING YES` was the last command.
    pub tracks_next: bool,
    /// Resources whose next change is pushed, as bits.
    pub tracked: u32,
}

impl Conn {
    pub fn new(client: usize, node: usize) -> Conn {
        Conn {
            client,
            node,
            is_client_open: true,
            is_server_open: false,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            last_to_server: 0,
            last_to_client: 0,
            server_buffer: VecDeque::new(),
            client_buffer: VecDeque::new(),
            tracks_next: false,
            tracked: 0,
        }
    }

    /// The server forgets it, with everything not executed yet.
    pub fn forget_at_server(&mut self) {
        self.is_server_open = false;
        self.to_server.clear();
        self.server_buffer.clear();
        self.tracked = 0;
    }
}
