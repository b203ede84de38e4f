//! Variable-length integers: seven bits a byte, least significant first, zigzag for signed ones.
//!
//! Source: Kafka `ByteUtils.readVarint`, `readVarlong`; Protocol Buffers.

/// The most bytes that a 32-bit number takes.
const MAX_INT: usize = 5;

/// The most bytes that a 64-bit number takes.
pub(crate) const MAX_LONG: usize = 10;

/// A signed 32-bit number at the start of `bytes` and how many bytes it took; `None` if cut short or over five bytes.
///
/// What a fifth byte says beyond 32 bits is ignored, as Kafka does.
#[inline(always)]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    match *bytes.first()? {
        byte if byte < 0x80 => Some((unzigzag_32(u32::from(byte)), 1)),
        _ => {
            let (value, size) = read_long(bytes)?;
            (size <= MAX_INT).then_some((unzigzag_32(value as u32), size))
        }
    }
}

/// A signed 64-bit number at the start of `bytes` and how many bytes it took; `None` if cut short or over ten bytes.
#[inline(always)]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    match *bytes.first()? {
        byte if byte < 0x80 => Some((unzigzag_64(u64::from(byte)), 1)),
        _ => read_long(bytes).map(|(value, size)| (unzigzag_64(value), size)),
    }
}

/// An unsigned number of more than one byte: eight bytes at once where they are there.
#[inline(always)]
fn read_long(bytes: &[u8]) -> Option<(u64, usize)> {
    const CONTINUES: u64 = 0x8080_8080_8080_8080;
    let Some(word) = bytes.first_chunk().copied().map(u64::from_le_bytes) else {
        return read_bytewise(bytes);
    };
    let ends = !word & CONTINUES;
    if ends == 0 {
        return read_bytewise(bytes);
    }
    // Everything up to the first byte without the continuation bit, seven bits of each.
    let mut value = word & (ends ^ (ends - 1)) & !CONTINUES;
    value = value & 0x007f_007f_007f_007f | (value & 0x7f00_7f00_7f00_7f00) >> 1;
    value = value & 0x0000_3fff_0000_3fff | (value & 0x3fff_0000_3fff_0000) >> 2;
    value = value & 0x0fff_ffff | (value & 0x0fff_ffff_0000_0000) >> 4;
    Some((value, ends.trailing_zeros() as usize / 8 + 1))
}

#[cold]
#[inline(never)]
fn read_bytewise(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(MAX_LONG) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Appends a signed number of at most 32 bits (or 64: the encoding is the same).
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// How many bytes [`write()`] appends.
pub(crate) const fn size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let bits = 64 - (zigzag | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

const fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

const fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_at_the_size_they_were_said_to_have() {
        let check = |value: i64, bytes: &[u8]| {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(size(value), bytes.len(), "{value}");
            assert_eq!(read_i64(bytes), Some((value, bytes.len())));
            if let Ok(small) = i32::try_from(value) {
                assert_eq!(read_i32(bytes), Some((small, bytes.len())));
            }
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 0x01]);
        check(1_000_000, &[0x80, 0x89, 0x7a]);
        check(-123_456_789_012, &[0xa7, 0xe8, 0xc8, 0xe9, 0x97, 0x07]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn what_follows_a_number_does_not_matter() {
        for shift in 0..63 {
            for value in [1i64 << shift, -(1 << shift), (1 << shift) - 1] {
                let mut bytes = Vec::new();
                write(&mut bytes, value);
                let size = bytes.len();
                for rest in [[0; 9], [0xff; 9], [0x80; 9]] {
                    let followed = [bytes.as_slice(), &rest].concat();
                    assert_eq!(read_i64(&followed), Some((value, size)), "{value}");
                    let small = i32::try_from(value).ok().map(|value| (value, size));
                    assert_eq!(read_i32(&followed).filter(|_| small.is_some()), small, "{value}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_end_is_no_number() {
        assert_eq!(read_i32(&[]), None);
        assert_eq!(read_i32(&[0x80]), None);
        assert_eq!(read_i32(&[0x80; 6]), None);
        assert_eq!(read_i64(&[0x80; 9]), None);
        assert_eq!(read_i64(&[0x80; 11]), None);
    }
}
