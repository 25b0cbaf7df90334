//! Cache hints.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

/// Asks for some of the cache lines of what is at `value` (no more than it has). Only a hint: it changes nothing, whatever the
/// address. A core has some 24 lines on their way at a time, and forgets what it is asked for beyond that: it is asked little by
/// little, between other work.
#[inline(always)]
pub fn prefetch<T>(value: *const T, lines: Range<usize>) {
    ask::<_MM_HINT_T0, T>(value, lines);
}

/// Octets of a table that the second-level cache is taken to hold: what is in a smaller one need not be asked for far ahead.
pub const CACHED: usize = 1 << 20;

/// The same into the second-level cache, for what is not needed soon.
#[inline(always)]
pub fn prefetch_far<T>(value: *const T, lines: Range<usize>) {
    ask::<_MM_HINT_T1, T>(value, lines);
}

#[inline(always)]
fn ask<const HINT: i32, T>(value: *const T, lines: Range<usize>) {
    for line in lines.start..lines.end.min(size_of::<T>().div_ceil(64)) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<HINT>(value.cast::<i8>().wrapping_add(64 * line)) }
    }
}
