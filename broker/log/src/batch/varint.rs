//! Variable-length integers: seven bits a byte, least significant first, zigzag for signed ones.
//!
//! Source: Kafka `ByteUtils.readVarint`, `readVarlong`; Protocol Buffers.

/// The most bytes that a 32-bit number takes.
const MAX_INT: usize = 5;

/// The most bytes that a 64-bit number takes.
pub(crate) const MAX_LONG: usize = 10;

/// A signed 32-bit number at the start of `bytes` and how many bytes it took; `None` if cut short or over five bytes.
#[inline]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((unzigzag_32(u32::from(first)), 1));
    }
    let mut value = u32::from(first & 0x7f);
    for (i, &byte) in bytes.iter().enumerate().take(MAX_INT).skip(1) {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((unzigzag_32(value), i + 1));
        }
    }
    None
}

/// A signed 64-bit number at the start of `bytes` and how many bytes it took; `None` if cut short or over ten bytes.
#[inline]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((unzigzag_64(u64::from(first)), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in bytes.iter().enumerate().take(MAX_LONG).skip(1) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((unzigzag_64(value), i + 1));
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
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
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
