//! The body of a response with a list. The next block is created when the client has received the previous block.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::Version;
use super::list::Position;
use crate::web::work::WorkSlots;

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

/// The body of a response.
pub struct TargetStream(BoxStream<'static, io::Result<Bytes>>);

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
        let rest = stream::try_unfold((slots, cursor), |(slots, mut cursor)| async move {
            let work = move || {
                let block = cursor.next_block();
                (cursor, block)
            };
            let done = slots.resume(work).await;
            let (cursor, block) = done.map_err(|_| io::Error::other("the list was abandoned"))?;
            Ok(block?.map(|block| (block, (slots, cursor))))
        });
        Self(stream::iter(first.transpose()).chain(rest).boxed())
    }

    /// Returns the next block when it is ready; `None` after the last block.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for TargetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetStream").finish_non_exhaustive()
    }
}
