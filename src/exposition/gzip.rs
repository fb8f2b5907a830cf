//! One gzip member made of pieces that were compressed at different times.
//!
//! Many clients stop after the first member of a stream (RFC 1952 allows several), so a body has to
//! be one. Each piece is raw deflate that ends on a whole byte and refers to nothing before it, so
//! pieces can be put one after the other. The checksum at the end is combined from theirs.
//!
//! Only the compressed text is kept, because it has an eighth of the length. [`PlainText`] decompresses
//! the text for clients that do not accept gzip.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes};
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use twox_hash::XxHash3_128;

/// Compression level: of 100,000 VMs, level 2 makes 30 % fewer bytes than level 1 in half as much
/// time again.
const LEVEL: Compression = Compression::new(2);

/// Texts shorter than this are stored: to reset the tables of the compressor costs more than it saves.
const MIN_COMPRESSED: usize = 300;

/// Length of the header of a stored block: its type, its length, and the complement of its length.
const STORED_HEADER: usize = 5;

/// Magic number, deflate, no flags, no time, unknown system (RFC 1952, 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Maximum number of bytes of plain text that are decompressed in one step. Each slow reader holds some blocks.
const BLOCK: usize = 1 << 12;

/// A compressed text.
#[derive(Debug, Default)]
pub struct Piece {
    pub compressed: Bytes,
    /// The checksum of the plain text.
    pub crc: Crc,
    /// The length of the plain text in bytes.
    pub length: usize,
    /// Digest of the plain text. It shows whether another plain text is equal.
    digest: u128,
}

impl Piece {
    pub fn of(plain: &[u8]) -> Self {
        if plain.is_empty() {
            return Self::default();
        }
        let compressed = if plain.len() < MIN_COMPRESSED {
            stored(plain)
        } else {
            let mut compressed = deflated(plain, FlushCompress::Sync);
            compressed.shrink_to_fit();
            compressed.into()
        };
        Self { compressed, crc: crc(plain), length: plain.len(), digest: XxHash3_128::oneshot(plain) }
    }

    /// Whether this piece was compressed from a text equal to `plain`.
    pub fn is_of(&self, plain: &[u8]) -> bool {
        self.length == plain.len() && (plain.is_empty() || self.digest == XxHash3_128::oneshot(plain))
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// The plain text of compressed pieces, which are decompressed block by block.
#[derive(Debug)]
pub struct PlainText {
    pieces: VecDeque<Bytes>,
    decompress: Decompress,
    left: u64,
}

impl PlainText {
    /// Creates the text of `pieces`, which has `length` bytes after decompression.
    pub(super) fn new(pieces: VecDeque<Bytes>, length: u64) -> Self {
        Self { pieces, decompress: Decompress::new(false), left: length }
    }

    /// Returns the number of bytes that were not returned yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Decompresses the next block. The block is empty after the end of the last piece.
    fn block(&mut self) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(BLOCK);
        while block.len() < BLOCK
            && let Some(piece) = self.pieces.front_mut()
        {
            let before = self.decompress.total_in();
            self.decompress.decompress_vec(piece, &mut block, FlushDecompress::None)?;
            let read = self.decompress.total_in() - before;
            piece.advance(usize::try_from(read).map_err(io::Error::other)?);
            // The decompressor may hold text for which the block had no space, even after it has read
            // the complete piece.
            if piece.is_empty() && block.len() < BLOCK {
                self.pieces.pop_front();
            }
        }
        Ok(block)
    }
}

impl Iterator for PlainText {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = match self.block() {
            Ok(block) => block,
            Err(error) => return Some(Err(error)),
        };
        self.left = self.left.saturating_sub(block.len() as u64);
        (!block.is_empty()).then_some(Ok(block.into()))
    }
}

/// Puts `last` behind compressed pieces whose beginning is [`header`]; `crc` is the checksum of the
/// plain text so far.
pub fn end(mut crc: Crc, last: &[u8]) -> Bytes {
    crc.combine(&self::crc(last));
    let mut end = deflated(last, FlushCompress::Finish);
    end.extend(crc.sum().to_le_bytes());
    end.extend(crc.amount().to_le_bytes());
    end.into()
}

/// The beginning of a member.
pub fn header() -> Bytes {
    Bytes::from_static(&HEADER)
}

/// `plain` as one block that is not compressed (RFC 1951, 3.2.4).
fn stored(plain: &[u8]) -> Bytes {
    // Shorter than `MIN_COMPRESSED`, so it fits.
    let length = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let mut block = Vec::with_capacity(STORED_HEADER + plain.len());
    block.push(0);
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend_from_slice(plain);
    block.into()
}

thread_local! {
    /// Its tables are larger than what a scrape compresses: to get them anew each time took longer.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
}

/// `plain` as raw deflate that refers to nothing before it and ends as `flush` says.
fn deflated(plain: &[u8], flush: FlushCompress) -> Vec<u8> {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(plain.len() / 4 + 64);
        loop {
            let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
            // Any bytes can be compressed; to go on after an error would never end.
            let status = compress.compress_vec(&plain[read..], &mut out, flush);
            let status = status.expect("the compressor was just put in order");
            // A flush is complete when it left room.
            let complete = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => out.len() < out.capacity(),
            };
            if complete {
                return out;
            }
            out.reserve(out.len() / 2 + 64);
        }
    })
}

fn crc(plain: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(plain);
    crc
}
