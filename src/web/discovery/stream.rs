//! The body of a response with a list. The next block is created when the client has received the previous block.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Version;
use super::list::Position;
use crate::web::work::{NotDone, WorkSlots};

/// Bytes of a block. A client that does not read holds one.
const BLOCK: usize = 32 << 10;

/// The part of a response that was not created yet.
#[derive(Debug)]
pub struct Cursor {
    versions: VecDeque<Arc<Version>>,
    position: Position,
    port: String,
    public: Option<bool>,
    has_begun: bool,
    has_group: bool,
}

/// A block; `None` if nothing is left.
type Block = io::Result<Option<Bytes>>;

/// The work on the next block.
type Working = Pin<Box<dyn Future<Output = Result<(Cursor, Block), NotDone>> + Send>>;

/// The body of a response.
pub struct TargetStream {
    slots: WorkSlots,
    state: State,
}

enum State {
    /// A block is ready.
    Ready(Bytes, Cursor),
    /// The next block is to be made.
    Left(Cursor),
    Working(Working),
    /// All blocks were sent, or an error ends the response.
    End(Option<io::Error>),
}

impl Cursor {
    pub fn new(versions: VecDeque<Arc<Version>>, port: u16, public: Option<bool>) -> Self {
        let (position, port) = (Position::default(), port.to_string());
        Self { versions, position, port, public, has_begun: false, has_group: false }
    }

    /// Makes the next block.
    ///
    /// # Errors
    /// The list was withdrawn, because it has changed too often since the response began.
    pub fn next_block(&mut self) -> Block {
        if self.has_begun && self.versions.is_empty() {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(BLOCK + (BLOCK >> 3));
        if !self.has_begun {
            self.has_begun = true;
            block.push(b'[');
        }
        while block.len() < BLOCK {
            let Some(version) = self.versions.front() else { break };
            let list = version.load();
            let Some(list) = &*list else {
                return Err(io::Error::other("the list changed too often while it was read"));
            };
            let comma = block.len();
            if self.has_group {
                block.push(b',');
            }
            let start = block.len();
            let is_left = list.write_next(&mut self.position, &self.port, self.public, &mut block);
            if block.len() > start {
                self.has_group = true;
            } else {
                block.truncate(comma);
            }
            if !is_left {
                self.versions.pop_front();
                self.position = Position::default();
            }
        }
        if self.versions.is_empty() {
            block.push(b']');
        }
        Ok(Some(block.into()))
    }
}

impl TargetStream {
    /// The body whose first block is made already.
    pub fn new(slots: WorkSlots, cursor: Cursor, first: Block) -> Self {
        let mut stream = Self { slots, state: State::End(None) };
        stream.made(cursor, first);
        stream
    }

    /// Whether nothing follows.
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, State::End(None))
    }

    /// Returns the next block when it is ready; `None` after the last block.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::End(None)) {
                State::Ready(block, cursor) => {
                    self.state =
                        if cursor.versions.is_empty() { State::End(None) } else { State::Left(cursor) };
                    return Poll::Ready(Some(Ok(block)));
                }
                State::Left(mut cursor) => {
                    let slots = self.slots.clone();
                    let make = move || {
                        let block = cursor.next_block();
                        (cursor, block)
                    };
                    self.state = State::Working(Box::pin(async move { slots.resume(make).await }));
                }
                State::Working(mut work) => match work.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Working(work);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((cursor, block))) => self.made(cursor, block),
                    Poll::Ready(Err(_)) => {
                        self.state = State::End(Some(io::Error::other("the list was abandoned")));
                    }
                },
                State::End(error) => return Poll::Ready(error.map(Err)),
            }
        }
    }

    fn made(&mut self, cursor: Cursor, block: Block) {
        self.state = match block {
            Ok(Some(block)) => State::Ready(block, cursor),
            Ok(None) => State::End(None),
            Err(error) => State::End(Some(error)),
        };
    }
}

impl fmt::Debug for TargetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetStream").finish_non_exhaustive()
    }
}
