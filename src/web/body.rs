//! A response body: shared pieces, so that many scrapes hold one copy of the bytes, or a file.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::discovery::TargetStream;
use crate::exposition::PlainText;

/// How much of a file is read at once.
const CHUNK: usize = 1 << 16;

/// Pieces from this size on are sent as they are.
const LARGE: usize = 1 << 14;

/// Smaller pieces are joined to blocks of about this size: the body of many tenants has thousands.
const BLOCK: usize = 1 << 16;

/// What is still to be sent.
#[derive(Debug)]
pub enum Answer {
    /// In order.
    Pieces(VecDeque<Bytes>),
    /// Text that is decompressed while it is sent.
    Plain(Box<PlainText>),
    /// A list for service discovery, filtered while it is sent.
    Targets(Box<TargetStream>),
    /// From where it was read to.
    File(Box<File>, Vec<u8>),
}

impl Answer {
    /// A file, read while it is sent.
    pub fn file(file: File) -> Self {
        Self::File(Box::new(file), vec![0; CHUNK])
    }
}

impl From<Vec<Bytes>> for Answer {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self::Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

impl From<PlainText> for Answer {
    fn from(text: PlainText) -> Self {
        Self::Plain(Box::new(text))
    }
}

impl From<TargetStream> for Answer {
    fn from(list: TargetStream) -> Self {
        Self::Targets(Box::new(list))
    }
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(vec![Bytes::from(bytes)])
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::from(vec![Bytes::from(text)])
    }
}

impl From<&'static str> for Answer {
    fn from(text: &'static str) -> Self {
        Self::from(vec![Bytes::from_static(text.as_bytes())])
    }
}

/// Takes the next piece, or several small ones as one.
fn next(pieces: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = pieces.pop_front()?;
    let is_small = |piece: &Bytes| piece.len() < LARGE;
    if !is_small(&first) || !pieces.front().is_some_and(is_small) {
        return Some(first);
    }
    let mut block = Vec::with_capacity(BLOCK);
    block.extend_from_slice(&first);
    while let Some(piece) =
        pieces.front().filter(|piece| is_small(piece) && block.len() + piece.len() <= BLOCK)
    {
        block.extend_from_slice(piece);
        pieces.pop_front();
    }
    Some(block.into())
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Pieces(pieces) => Poll::Ready(next(pieces).map(|piece| Ok(Frame::data(piece)))),
            Self::Plain(text) => Poll::Ready(text.next().map(|block| block.map(Frame::data))),
            Self::Targets(list) => list.poll_next(context).map(|block| block.map(|it| it.map(Frame::data))),
            Self::File(file, buffer) => {
                let mut chunk = ReadBuf::new(buffer);
                Pin::new(file).poll_read(context, &mut chunk).map(|read| match read {
                    Ok(()) if chunk.filled().is_empty() => None,
                    Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(chunk.filled())))),
                    Err(error) => Some(Err(error)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Pieces(pieces) => pieces.is_empty(),
            Self::Plain(text) => text.left() == 0,
            Self::Targets(_) | Self::File(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Self::Plain(text) => SizeHint::with_exact(text.left()),
            Self::Targets(_) | Self::File(..) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_large_ones_stay_as_they_are() {
        let piece = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
        let mut pieces: Vec<_> = (0..100).map(|number| piece(number, 1_000)).collect();
        let large = piece(200, LARGE);
        pieces.extend([large.clone(), piece(201, 1), large.clone()]);
        let whole = pieces.concat();
        let Answer::Pieces(mut left) = Answer::from(pieces) else { panic!("not pieces") };
        let mut sent = Vec::new();
        while let Some(piece) = next(&mut left) {
            sent.push(piece);
        }
        assert_eq!(sent.concat(), whole);
        let lengths: Vec<_> = sent.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [65_000, 35_000, LARGE, 1, LARGE]);
        assert_eq!((sent[2].as_ptr(), sent[4].as_ptr()), (large.as_ptr(), large.as_ptr()), "not copied");
    }
}
