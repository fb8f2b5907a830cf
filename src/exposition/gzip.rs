//! One gzip member made of pieces that were compressed at different times.
//!
//! Many clients stop after the first member of a stream (RFC 1952 allows several), so a body has to
//! be one. Each piece is raw deflate that ends on a whole byte and refers to nothing before it, so
//! pieces can be put one after the other. The checksum at the end is combined from theirs.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Compression level: of 100,000 VMs, level 2 makes 30 % fewer bytes than level 1 in half as much
/// time again.
const LEVEL: Compression = Compression::new(2);

/// Texts shorter than this are stored: to reset the tables of the compressor costs more than it saves.
const MIN_COMPRESSED: usize = 300;

/// Length of the header of a stored block: its type, its length, and the complement of its length.
const STORED_HEADER: usize = 5;

/// Magic number, deflate, no flags, no time, unknown system (RFC 1952, 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A text, plain and compressed.
#[derive(Debug, Default)]
pub struct Piece {
    pub plain: Bytes,
    pub compressed: Bytes,
    pub crc: Crc,
}

impl Piece {
    pub fn of(plain: &[u8]) -> Self {
        let crc = crc(plain);
        if plain.is_empty() {
            return Self::default();
        }
        if plain.len() < MIN_COMPRESSED {
            let compressed = stored(plain);
            // Both share one allocation.
            return Self { plain: compressed.slice(STORED_HEADER..), compressed, crc };
        }
        let mut compressed = deflated(plain, FlushCompress::Sync);
        compressed.shrink_to_fit();
        Self { plain: Bytes::copy_from_slice(plain), compressed: compressed.into(), crc }
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
